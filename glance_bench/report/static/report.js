"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const PAGE = 24;
  const SVG = "http://www.w3.org/2000/svg";

  // All text of the run reaches the page here, as text.
  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };

  // ---- theme ----
  const root = document.documentElement;
  const remember = (value) => { try { if (value) localStorage.setItem("glance-bench-theme", value); return localStorage.getItem("glance-bench-theme"); } catch { return value; } };
  const stored = remember(null);
  if (stored === "dark" || stored === "light") root.dataset.theme = stored;
  byId("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    remember(root.dataset.theme);
  });

  // ---- sortable tables ----
  for (const table of document.querySelectorAll(".leaderboard")) {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    const original = [...body.rows];
    heads.forEach((head, place) => {
      const button = head.querySelector("button");
      const first = button.dataset.better === "higher" ? "descending" : "ascending";
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        const other = first === "ascending" ? "descending" : "ascending";
        const next = now === "none" ? first : now === first ? other : "none";
        heads.forEach((each) => each.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", next);
        const sign = next === "descending" ? -1 : 1;
        const value = (row) => row.cells[place].dataset.value;
        const rows = next === "none" ? original : [...original].sort((a, b) => {
          const [x, y] = [value(a), value(b)];
          if (x === "" || y === "") return (x === "") - (y === "");
          return sign * (Number(x) - Number(y));
        });
        body.append(...rows);
      });
    });
  }

  // ---- gallery ----
  const controls = { board: byId("board"), category: byId("category"), order: byId("order"), column: byId("column"), sampler: byId("sampler"), find: byId("find") };
  const option = (select, value, label) => { const made = make("option", "", label); made.value = value; select.append(made); };
  const fill = (select, entries) => {
    const before = select.value;
    select.replaceChildren();
    for (const [value, label] of entries) option(select, value, label);
    if ([...select.options].some((each) => each.value === before)) select.value = before;
  };
  const shownColumns = data.columns.map((column, place) => place).filter((place) => data.columns[place].headline);
  fill(controls.board, data.boards.map((board, place) => [String(place), data.boards.filter((b) => b.model === board.model).length > 1 ? `${board.model} on ${board.set}` : board.model]));
  fill(controls.column, shownColumns.map((place) => [data.columns[place].name, data.columns[place].title]));
  let page = 0;

  const board = () => data.boards[Number(controls.board.value) || 0];
  const fillSamplers = () => fill(controls.sampler, board().samplers.map((name, place) => [String(place), name]));
  const promptOf = (row) => data.prompts[board().set][row[0]];
  const valueOf = (row, sampler, column) => (row[3][sampler] ? row[3][sampler][1][column] : null);

  const selected = () => {
    const wanted = controls.find.value.trim().toLowerCase();
    let rows = board().rows.filter((row) => {
      const prompt = promptOf(row);
      return (!controls.category.value || prompt.category === controls.category.value) && (!wanted || prompt.text.toLowerCase().includes(wanted));
    });
    const column = data.columns.findIndex((each) => each.name === controls.column.value);
    const sampler = Number(controls.sampler.value);
    if (controls.order.value === "prompt" || column < 0) return rows;
    const sign = data.columns[column].better === "higher" ? 1 : -1;
    const key = (row) => {
      const value = valueOf(row, sampler, column);
      if (value === null || controls.order.value === "worst") return value;
      const reference = valueOf(row, board().reference, column);
      return reference === null ? null : value - reference;
    };
    return rows.map((row, place) => [row, key(row), place]).filter((each) => each[1] !== null)
      .sort((a, b) => sign * (a[1] - b[1]) || a[2] - b[2]).map((each) => each[0]);
  };

  const symbol = (place) => {
    const drawn = document.querySelectorAll(`#plots .board`)[Number(controls.board.value) || 0].querySelectorAll(".keys svg")[place];
    return drawn ? drawn.cloneNode(true) : document.createElementNS(SVG, "svg");
  };

  const tile = (row, place) => {
    const [names, prompt, image] = [board().samplers, promptOf(row), row[3][place]];
    const figure = make("figure", "tile");
    if (place === board().reference) figure.classList.add("first");
    if (controls.order.value !== "prompt" && place === Number(controls.sampler.value)) figure.classList.add("chosen");
    const caption = make("figcaption");
    caption.append(symbol(place), make("span", "", names[place]));
    caption.title = names[place];
    figure.append(caption);
    if (!image) { figure.append(make("div", "absent", "not made")); return figure; }
    const [file, values, notes, state] = image;
    const link = make("a");
    link.href = file;
    const picture = make("img");
    picture.loading = "lazy";
    picture.decoding = "async";
    picture.width = picture.height = 128;
    picture.alt = `${prompt.text.slice(0, 200)}; ${names[place]}, seed ${row[2]}`;
    picture.src = file;
    link.append(picture);
    figure.append(link);
    if (state) figure.append(make("p", "broken", state === "black" ? "black image" : "non-finite values"));
    const list = make("dl");
    for (const column of shownColumns) {
      const value = values[column];
      if (value === null) continue;
      const { title, decimals, better, name } = data.columns[column];
      const term = make("dt", "", title);
      const number = make("dd", "", value.toFixed(decimals));
      const against = make("dd");
      const reference = valueOf(row, board().reference, column);
      if (place !== board().reference && reference !== null && Math.abs(value - reference) >= 0.5 * 10 ** -decimals) {
        const up = (value > reference) === (better === "higher");
        against.className = up ? "up" : "down";
        against.textContent = up ? "▲" : "▼";
        against.title = `${board().samplers[board().reference]}: ${reference.toFixed(decimals)}`;
      }
      if (controls.order.value !== "prompt" && name === controls.column.value) term.classList.add("sorted"), number.classList.add("sorted");
      list.append(term, number, against);
    }
    figure.append(list);
    data.notes.forEach(({ name, label }, note) => {
      const reads = name === "ocr_read";
      const text = notes[note];
      if (!text && !(reads && prompt.wanted.length)) return;
      const line = make("p", "note", `${label} `);
      line.append(make("b", "", reads && !text ? "nothing" : text));
      if (reads && data.exact !== null && values[data.exact] !== null) {
        line.classList.add(values[data.exact] === 1 ? "hit" : "miss");
        line.append(` ${values[data.exact] === 1 ? "✓" : "✗"}`);
      }
      line.firstElementChild.dir = "auto";
      figure.append(line);
    });
    return figure;
  };

  const article = (row) => {
    const prompt = promptOf(row);
    const made = make("article", "row");
    const text = make("h3", "prompt", prompt.text);
    text.dir = "auto";
    made.append(text);
    if (prompt.text.length > 400) {
      text.classList.add("long");
      const more = make("button", "more", `Show all ${prompt.text.length} characters`);
      more.type = "button";
      more.addEventListener("click", () => { text.classList.remove("long"); more.remove(); });
      made.append(more);
    }
    const meta = make("p", "meta");
    meta.append(make("span", "", prompt.id), make("span", "", prompt.category), make("span", "", `seed ${row[2]}`));
    if (prompt.wanted.length) {
      const wanted = make("span", "", "wanted text ");
      const words = make("b", "", prompt.wanted.join(" / "));
      words.dir = "auto";
      wanted.append(words);
      meta.append(wanted);
    }
    made.append(meta);
    const strip = make("div", "strip");
    strip.tabIndex = 0;
    strip.setAttribute("role", "group");
    strip.setAttribute("aria-label", "Samplers side by side");
    const order = [board().reference, ...board().samplers.keys()].filter((place, at, all) => all.indexOf(place) === at);
    strip.append(...order.map((place) => tile(row, place)));
    made.append(strip);
    return made;
  };

  const draw = () => {
    const rows = selected();
    const pages = Math.max(1, Math.ceil(rows.length / PAGE));
    page = Math.min(Math.max(page, 0), pages - 1);
    const start = page * PAGE;
    byId("gallery").replaceChildren(...rows.slice(start, start + PAGE).map(article));
    byId("count").textContent = rows.length ? `Rows ${start + 1} to ${Math.min(start + PAGE, rows.length)} of ${rows.length}.` : "No prompt fits.";
    byId("page").textContent = `page ${page + 1} of ${pages}`;
    byId("back").disabled = page === 0;
    byId("next").disabled = page >= pages - 1;
  };

  const save = () => {
    const state = new URLSearchParams();
    for (const [name, control] of Object.entries(controls)) if (control.value && control.value !== control.dataset.rest) state.set(name, control.value);
    if (page) state.set("page", String(page + 1));
    const text = state.toString();
    history.replaceState(null, "", text ? `#images?${text}` : location.pathname + location.search);
  };
  const restore = () => {
    const text = location.hash.startsWith("#images?") ? location.hash.slice("#images?".length) : "";
    if (!text) return false;
    const state = new URLSearchParams(text);
    const set = (name) => { if (state.has(name)) controls[name].value = state.get(name); if (controls[name].tagName === "SELECT" && controls[name].selectedIndex < 0) controls[name].selectedIndex = 0; };
    set("board");
    fillSamplers();
    for (const name of ["category", "order", "column", "sampler", "find"]) set(name);
    page = (Number(state.get("page")) || 1) - 1;
    return true;
  };
  const refresh = (keep) => { if (!keep) page = 0; draw(); save(); };

  fillSamplers();
  for (const control of Object.values(controls)) control.dataset.rest = control.value;
  const linked = restore();
  byId("controls").addEventListener("input", (event) => {
    if (event.target === controls.board) fillSamplers();
    if ((event.target === controls.column || event.target === controls.sampler) && controls.order.value === "prompt") controls.order.value = "worst";
    refresh();
  });
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("controls").addEventListener("reset", () => setTimeout(() => { fillSamplers(); controls.sampler.selectedIndex = 0; refresh(); }));
  const turn = (step) => { page += step; refresh(true); byId("images").scrollIntoView(); };
  byId("back").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));

  // A cell of the leaderboard opens its images.
  document.addEventListener("click", (event) => {
    const cell = event.target.closest("button.open");
    if (!cell) return;
    controls.category.value = controls.find.value = "";
    controls.board.value = cell.dataset.board;
    fillSamplers();
    controls.sampler.value = cell.dataset.sampler;
    const perImage = data.columns.some((column) => column.name === cell.dataset.column && column.headline);
    if (perImage) controls.column.value = cell.dataset.column;
    controls.order.value = perImage ? "worst" : "prompt";
    refresh();
    byId("images").scrollIntoView();
  });

  draw();
  const target = linked ? byId("images") : document.getElementById(location.hash.slice(1));
  if (target) target.scrollIntoView();
})();
