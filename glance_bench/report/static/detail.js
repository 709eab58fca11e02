"use strict";
// One prompt: every sampler's image from the same noise, two of them compared, the way there, and how to make one again.
(() => {
  const { index, make, box, on } = GB;
  const section = document.getElementById("view-prompt");
  const find = (part) => section.querySelector(part);
  const [form, stage, tiles] = ["form", ".stage", ".strip"].map(find);
  const field = (name) => form.elements.namedItem(name);
  let [now, seen, turn, blinking] = [{}, {}, 0, 0];

  const show = async (params) => {
    const mine = ++turn;
    const number = (name, count, otherwise) => GB.place(params.get(name), count, otherwise);
    const board = number("board", index.boards.length, 0);
    const { rows, samplers, reference, columns } = index.boards[board];
    const [row, order] = [number("row", rows, 0), GB.inOrder(board)];
    const mode = ["blink", "slider", "diff"].find((each) => each === params.get("mode")) || "side";
    now = { board, row, with: number("with", samplers.length, reference), sampler: number("sampler", samplers.length, order[1] ?? reference), mode };
    if (seen.board !== board || seen.row !== row) {
      const found = await GB.look(board, row, columns.filter((column) => column.images && !column.flag));
      const prompts = await GB.prompts(board);
      if (mine !== turn) return;
      seen = { ...found, place: new Set(prompts.slice(0, row + 1).map((prompt) => prompt.id)).size };
      drawPrompt(order);
      await drawWay(order);
    }
    choose();
  };
  const go = (changes) => GB.go("prompt", { ...now, ...changes }, true);

  const drawPrompt = (order) => {
    const { board, row, prompt, images } = seen;
    const { samplers } = index.boards[board];
    const heading = make("h1", "prompt");
    find(".asked").replaceChildren(...GB.asked(prompt, heading, heading));
    tiles.replaceChildren(...order.map((sampler, at) => {
      const head = GB.button("", GB.named(board, sampler));
      head.dataset.sampler = sampler;
      if (at < 9) { head.ariaKeyShortcuts = at + 1; head.append(make("kbd", "", at + 1)); }
      return GB.tile(seen, sampler, { head, href: images[sampler] && images[sampler].original });
    }));
    for (const name of ["with", "sampler"]) field(name).replaceChildren(...order.map((sampler) => new Option(samplers[sampler], sampler)));
    find(".compared").hidden = !images.some(Boolean);
    const listed = trail();
    find(".count").textContent = `${listed.indexOf(row) + 1} of ${listed.length}`;
  };

  // The rows of the list that one came from, or all of the board.
  const trail = () => {
    const { rows } = index.boards[now.board];
    const listed = GB.trail && GB.trail.board === now.board ? [...new Set(Array.from(GB.trail.places, (place) => place % rows))] : [];
    return listed.includes(now.row) ? listed : [...Array(rows).keys()];
  };
  const step = (list, value, by) => list[(list.indexOf(value) + Number(by) + list.length) % list.length];

  // ---- two images ----
  const pane = (sampler) => {
    const { board, row, images, prompt } = seen;
    const small = GB.picture(board, row, sampler, images[sampler], prompt);
    let large = small;
    if (small.src !== undefined && images[sampler].original) {
      large = small.cloneNode();
      large.src = images[sampler].original;
      on(large, "error", () => large.replaceWith(small), { once: true });
    }
    large.draggable = false;
    on(large, "load", () => large.classList.toggle("sharp", large.naturalWidth < 400));
    return box("div", "pane", large, GB.named(board, sampler));
  };
  const swap = () => stage.classList.toggle("swapped");

  const choose = () => {
    const { board, row, mode, sampler } = now;
    for (const press of tiles.querySelectorAll("button")) {
      const chosen = Number(press.dataset.sampler) === sampler;
      press.ariaPressed = chosen;
      const tile = press.closest("figure");
      if (tile.classList.toggle("chosen", chosen)) tiles.scrollLeft = tile.offsetLeft - tiles.offsetLeft - tiles.clientWidth / 2;
    }
    field("with").value = now.with;
    field("sampler").value = sampler;
    for (const press of form.querySelectorAll("[data-mode]")) press.ariaPressed = press.dataset.mode === mode;
    for (const part of form.querySelectorAll("[data-for]")) part.hidden = part.dataset.for !== mode;
    const pair = [board, row, now.with, sampler].join();
    if (stage.dataset.pair !== pair) { stage.dataset.pair = pair; stage.replaceChildren(pane(now.with), pane(sampler)); zoomTo(1); }
    stage.dataset.mode = mode;
    stage.classList.remove("swapped");
    clearInterval(blinking);
    if (mode === "blink" && field("auto").checked) blinking = setInterval(() => section.hidden || swap(), 700);
    const again = find(`template[data-board="${board}"][data-sampler="${sampler}"]`);
    find(".again").hidden = !again;
    if (!again) return;
    const all = again.dataset.by === "limit";
    const [who, code, hint] = find(".again").querySelectorAll(".who, code, .all");
    code.textContent = again.content.textContent + (all ? ` --limit ${seen.place}` : ` --prompt '${seen.prompt.text.replaceAll("'", "'\\''")}'`);
    hint.hidden = !all;
    who.textContent = `${index.boards[board].samplers[sampler]}, seed ${seen.prompt.seed}`;
  };

  // ---- zoom and place, shared by both: fractions of a pane, whatever its size ----
  let [zoom, x, y] = [1, 0, 0];
  const move = (byX, byY) => {
    [x, y] = [x + byX, y + byY].map((each) => Math.min(0, Math.max(1 - zoom, each)));
    for (const [name, value] of [["--zoom", zoom], ["--x", `${100 * x}%`], ["--y", `${100 * y}%`]]) stage.style.setProperty(name, value);
    stage.classList.toggle("zoomed", zoom > 1);
  };
  const zoomTo = (wanted, atX = 0.5, atY = 0.5) => {
    const by = Math.min(16, Math.max(1, wanted)) / zoom;
    zoom *= by;
    move((atX - x) * (1 - by), (atY - y) * (1 - by));
  };
  const boxOf = () => stage.firstElementChild.getBoundingClientRect();
  on(stage, "wheel", (event) => {
    if (zoom === 1 && event.deltaY > 0) return; // the page scrolls on
    event.preventDefault();
    const pane = event.target.closest(".pane")?.getBoundingClientRect() || boxOf();
    zoomTo(zoom * 1.2 ** -Math.sign(event.deltaY), (event.clientX - pane.left) / pane.width, (event.clientY - pane.top) / pane.height);
  }, { passive: false });
  on(stage, "pointerdown", (event) => stage.setPointerCapture(event.pointerId));
  on(stage, "pointermove", (event) => {
    const { left, width, height } = boxOf();
    if (!event.buttons) return;
    if (zoom > 1) move(event.movementX / width, event.movementY / height);
    else { field("edge").value = (100 * (event.clientX - left)) / width; slide(); }
  });
  on(stage, "keydown", (event) => {
    const way = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
    if (way && zoom > 1) { event.preventDefault(); move(...way); }
  });
  const slide = () => { stage.style.setProperty("--edge", `${field("edge").value}%`); stage.style.setProperty("--gain", field("gain").value); };

  on(form, "submit", (event) => event.preventDefault());
  on(form, "input", ({ target }) => {
    if (target.type === "range") slide();
    else if (target.name === "auto") choose();
    else go({ [target.name]: target.value });
  });
  on(section, "click", ({ target }) => {
    const press = target.closest("button");
    if (!press) return;
    const { mode, sampler, way, walk, zoom: by } = press.dataset;
    if (mode) go({ mode: mode === now.mode ? "side" : mode });
    if (sampler) go({ sampler });
    if (way) go({ sampler: step(GB.inOrder(now.board), now.sampler, way) });
    if (walk) go({ row: step(trail(), now.row, walk) });
    if (by) zoomTo(Number(by) * zoom);
    if (press.classList.contains("swap")) { field("auto").checked = false; choose(); swap(); }
  });

  // ---- the way there: estimates of the image, placed by the noise that was left ----
  const SIZE = 76; // pixels of a picture and the gap beside it
  const WIDE = 860;
  // Where each noise level stands, the same for all samplers: in proportion, but for the room that pictures need.
  const placed = (strips) => {
    const levels = [...new Set(strips.flat().map(({ sigma }) => sigma))].sort((a, b) => b - a);
    const free = strips.map(() => 0);
    let left = 0;
    return new Map(levels.map((sigma) => {
      const here = [...strips.keys()].filter((sampler) => strips[sampler].some((each) => each.sigma === sigma));
      left = Math.max(left, (1 - sigma / levels[0]) * WIDE, ...here.map((sampler) => free[sampler]));
      for (const sampler of here) free[sampler] = left + SIZE;
      return [sigma, left];
    }));
  };
  const drawWay = async (order) => {
    const { board, row } = seen;
    const { samplers, strips } = index.boards[board];
    const hidden = !strips.includes(row);
    find(".way").hidden = hidden;
    if (hidden) return;
    const found = await GB.chunk(`b${board}/strips/${row}`);
    const at = placed(found);
    const adapters = [...new Set(found.flat().map(({ adapter }) => adapter))];
    find(".lanes").replaceChildren(...order.filter((sampler) => found[sampler].length).map((sampler) => {
      const line = box("div", "estimates", ...found[sampler].map(({ sigma, step: number, adapter, file }) => {
        const picture = Object.assign(make("img"), { src: file, alt: `${samplers[sampler]}, step ${number + 1}` });
        const figure = box("figure", adapter ? `c${adapters.indexOf(adapter) % 8}` : "", picture, make("figcaption", "", `σ ${sigma.toFixed(2)} ${adapter}`));
        figure.style.left = `${at.get(sigma)}px`;
        return figure;
      }));
      line.style.width = `${Math.max(...at.values()) + SIZE}px`;
      return box("div", "lane", GB.named(board, sampler), line);
    }));
  };

  field("auto").checked = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  slide();
  GB.view("prompt", { show });
})();
