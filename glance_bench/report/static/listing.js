"use strict";
// What the views of images share: lists that are filtered, ranked and paged, the tile of an image, and keys.
(() => {
  const PAGE = 24;
  const { index, make } = GB;
  const box = (tag, className, ...children) => { const made = make(tag, className); made.append(...children); return made; };
  const on = (target, type, act, options) => target.addEventListener(type, act, options);
  const button = (className, ...children) => Object.assign(box("button", className, ...children), { type: "button" });
  // A number of the address, if it is one below `count`.
  const place = (text, count, otherwise) => (/^\d+$/.test(text) && Number(text) < count ? Number(text) : otherwise);

  // Places by their key, smallest first, equal keys by place; those whose key is NaN are left out. 32 bits of key and 21
  // of place make one exact number, so that the native sort does everything.
  const SPAN = 2 ** 21;
  const ranked = (places, key) => {
    const float = new Float32Array(1);
    const bits = new Uint32Array(float.buffer);
    const packed = new Float64Array(places.length);
    let count = 0;
    for (const each of places) {
      float[0] = key(each) + 0; // -0 becomes 0
      if (!isNaN(float[0])) packed[count++] = (bits[0] >>> 31 ? ~bits[0] >>> 0 : bits[0] + 2 ** 31) * SPAN + each;
    }
    return Uint32Array.from(packed.subarray(0, count).sort(), (each) => each % SPAN);
  };

  // The rows that fit a category, a length of text and words (in any order) or an id.
  const matching = async (board, { category, span, q }) => {
    const prompts = await GB.prompts(board);
    const words = q.toLowerCase().split(/\s+/);
    return Uint32Array.from(prompts.keys()).filter((row) => {
      const prompt = prompts[row];
      if (category && prompt.category !== category) return false;
      const size = span ? (prompt[span.field] ?? NaN) : 0;
      if (span && !(size >= span.least && size <= span.most)) return false;
      const text = prompt.text.toLowerCase();
      return prompt.id === q || words.every((word) => text.includes(word));
    });
  };

  const sign = (column) => (column.better === "higher" ? 1 : -1);
  const columnOf = (board, name) => index.boards[board].columns.find((column) => column.name === name);

  // ---- what is shown of a row ----
  const look = async (board, row, columns) => {
    const [prompts, images, ...values] = await Promise.all([
      GB.prompts(board), GB.images(board, row), ...columns.map((column) => GB.values(board, column.name)),
    ]);
    return { board, row, prompt: prompts[row], images, columns: columns.map((column, at) => ({ ...column, values: values[at] })) };
  };
  const shown = (board, also) => {
    const few = index.boards[board].columns.filter((column) => column.images && column.headline).slice(0, 6);
    const extra = columnOf(board, also);
    return extra && !few.includes(extra) ? [...few, extra] : few;
  };

  // How a value stands to the reference's from the same noise, as far as its decimals show.
  const against = (column, value, reference) => {
    const shift = sign(column) * (value - reference);
    if (isNaN(shift)) return box("dd");
    const [name, symbol, said] = Math.abs(shift) < 0.5 * 10 ** -column.decimals ? ["same", "≈", "the same as"]
      : shift > 0 ? ["up", "▲", "better than"] : ["down", "▼", "worse than"];
    const mark = make("span", name, symbol);
    mark.role = "img";
    mark.ariaLabel = `${said} the reference`;
    return box("dd", "", mark);
  };

  const named = (board, sampler) => box("span", "named", GB.symbol(board, sampler), make("bdi", "", index.boards[board].samplers[sampler]));

  // One sampler's image of a row. `head` is what names it, `href` where the picture leads.
  const tile = ({ board, row, prompt, images, columns }, sampler, { head = named(board, sampler), href, chosen, sorted }) => {
    const { rows, reference, notes } = index.boards[board];
    const image = images[sampler];
    const link = box(href ? "a" : "span", "", GB.picture(board, row, sampler, image, prompt));
    if (href) link.href = href;
    const figure = box("figure", `tile${sampler === reference ? " first" : ""}${sampler === chosen ? " chosen" : ""}`, box("figcaption", "", head), link);
    if (image && image.state) figure.append(make("p", "broken", `✗ ${image.state === "black" ? "black image" : "non-finite values"}`));
    figure.append(box("dl", "", ...columns.flatMap((column) => {
      const [value, base] = [column.values[sampler * rows + row], column.values[reference * rows + row]];
      if (isNaN(value)) return [];
      const term = make("dt", "", column.title);
      term.title = column.name;
      return [box("div", column.name === sorted ? "sorted" : "", term, make("dd", "", GB.number(value, column.decimals)),
        against(column, value, sampler === reference ? NaN : base))];
    })));
    for (const { name, label } of image ? notes : []) {
      const reads = /_read(\[|$)/.test(name) && prompt.wanted.length;
      if (image.notes[name] || reads) figure.append(box("p", "note", `${label} `, reads ? GB.compared(prompt.wanted.join(" "), image.notes[name]) : make("bdi", "", image.notes[name])));
    }
    return figure;
  };

  // The reference first, then the others in their order.
  const inOrder = (board) => [...new Set([index.boards[board].reference, ...index.boards[board].samplers.keys()])];

  // The prompt of a row in a heading, folded while it is long, and its facts.
  const asked = (prompt, heading, text) => {
    text.textContent = prompt.text;
    text.dir = "auto";
    const parts = [heading];
    if (prompt.text.length > 400) {
      heading.classList.add("long");
      const more = button("more", `Show all ${prompt.text.length} characters`);
      on(more, "click", () => { heading.classList.remove("long"); more.remove(); });
      parts.push(more);
    }
    const meta = box("p", "meta", make("bdi", "", prompt.id), make("bdi", "", prompt.category), make("span", "", `seed ${prompt.seed}`));
    if (prompt.index) meta.append(make("span", "", `image ${prompt.index + 1}`));
    if (prompt.wanted.length) meta.append(box("span", "", "wanted text ", make("bdi", "wanted", prompt.wanted.join(" / "))));
    return [...parts, meta];
  };
  const entry = ({ board, row, prompt }, sampler, ...rest) => {
    const link = make("a");
    link.href = GB.address("prompt", { board, row, sampler });
    return box("article", "row", ...asked(prompt, box("h2", "prompt", link), link), ...rest);
  };

  // ---- lists ----
  // The fields of the view's form are its state. `order(board, asked)` gives the places to list (row, or sampler * rows +
  // row), `item(board, place, asked)` the element of one, `begin(board, asked)` draws what stands before them.
  const listing = (name, { order, item, begin = () => {} }) => {
    const section = document.getElementById(`view-${name}`);
    const [form, list, count, pager] = ["form", ".items", ".count", ".pager"].map((part) => section.querySelector(part));
    const fields = [...form.elements].filter((field) => field.name);
    const choices = fields.filter((field) => field.options).map((field) => [field, [...field.options]]);
    let [turn, page, last, moved, typing] = [0, 0, 0, false, 0];

    const rest = (field) => (field.options && field.options.length ? field.options[0].value : "");
    const read = (field) => (field.type === "checkbox" && !field.checked ? "" : field.value);
    const state = () => Object.fromEntries(fields.filter((field) => read(field) !== rest(field)).map((field) => [field.name, read(field)]));
    const write = (field, value) => {
      if (field.type === "checkbox") field.checked = value === field.value;
      else if (field.value !== value) field.value = value;
      if (field.options && field.selectedIndex < 0) field.selectedIndex = 0;
    };

    const show = async (params) => {
      const mine = ++turn;
      const board = place(params.get("board"), index.boards.length, 0);
      for (const [select, options] of choices) {
        select.replaceChildren(...options.filter((option) => !option.dataset.board || Number(option.dataset.board) === board));
        select.parentElement.hidden = select.length < 2;
      }
      for (const field of fields) write(field, params.get(field.name) || rest(field));
      const wanted = Object.fromEntries(fields.map((field) => [field.name, read(field)]));
      const span = form.elements.namedItem("length").selectedOptions[0].dataset;
      wanted.span = span.field ? span : null;
      const places = await order(board, wanted);
      if (mine !== turn) return;
      last = Math.max(0, Math.ceil(places.length / PAGE) - 1);
      page = Math.min(Math.max((Number(params.get("page")) || 1) - 1, 0), last);
      const start = page * PAGE;
      const made = await Promise.all(Array.from(places.subarray(start, start + PAGE), (each) => item(board, each, wanted)));
      if (mine !== turn) return;
      await begin(board, wanted);
      list.replaceChildren(...made);
      GB.trail = { board, places };
      count.textContent = made.length ? `${start + 1} to ${start + made.length} of ${places.length.toLocaleString("en")}` : "Nothing fits.";
      pager.hidden = last === 0;
      pager.querySelector("span").textContent = `page ${page + 1} of ${last + 1}`;
      for (const each of pager.querySelectorAll("button")) each.ariaDisabled = place(page + Number(each.dataset.turn), last + 1, null) === null;
      if (moved) { moved = false; list.focus({ preventScroll: true }); section.scrollIntoView(); }
    };

    const walk = (step) => {
      const items = [...list.children];
      const at = items.findIndex((each) => each.contains(document.activeElement));
      const next = items[Math.min(Math.max(at + step, 0), items.length - 1)];
      if (next) next.querySelector("a").focus();
    };

    on(form, "submit", (event) => event.preventDefault());
    on(form, "input", (event) => {
      clearTimeout(typing);
      typing = setTimeout(() => section.hidden || GB.go(name, state(), true), event.target.type === "search" ? 150 : 0);
    });
    on(section, "click", ({ target }) => {
      const pressed = target.closest("button:not([aria-disabled=true])");
      if (!pressed) return;
      const { turn: by, walk: step } = pressed.dataset;
      if (by) { moved = true; GB.go(name, { ...state(), page: page + Number(by) + 1 }); }
      if (step) walk(Number(step));
      if (pressed.classList.contains("clear")) GB.go(name, { board: state().board }, true);
    });
    GB.view(name, { show });
    return form;
  };

  // ---- keys: a key presses the button that names it, and only outside of fields ----
  const typed = (target) => target.closest("textarea, select, input:not([type=range], [type=checkbox])");
  const keyed = () => [...document.querySelectorAll(".view:not([hidden]) [aria-keyshortcuts]")].filter((each) => each.checkVisibility());
  const dialog = box("dialog", "keys-help");
  const off = box("input", "");
  off.type = "checkbox";
  const help = () => {
    const close = button("", "Close");
    on(close, "click", () => dialog.close());
    dialog.replaceChildren(make("h2", "", "Keys"), box("dl", "", ...keyed().map((each) =>
      box("div", "", box("dt", "", make("kbd", "", each.ariaKeyShortcuts)), make("dd", "", each.firstChild.textContent)))),
    box("label", "check", off, "only this one"), close);
    dialog.showModal();
  };
  dialog.ariaLabel = "Keys";
  document.body.append(dialog);
  on(document, "click", ({ target }) => { if (target.closest("button.help")) help(); });
  on(document, "keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open || typed(event.target)) return;
    const pressed = keyed().find((each) => each.ariaKeyShortcuts === event.key);
    if (pressed && (!off.checked || event.key === "?")) { event.preventDefault(); pressed.click(); }
  });

  Object.assign(GB, { box, on, button, place, ranked, matching, sign, columnOf, shown, look, named, tile, inOrder, asked, entry, listing });
})();
