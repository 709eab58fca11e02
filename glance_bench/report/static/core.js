"use strict";
// What every view stands on: the index, pieces of data, the address, and elements made of text.
const GB = (() => {
  const index = JSON.parse(document.getElementById("index").textContent);
  const byId = (id) => document.getElementById(id);

  // ---- elements: all text of a run reaches the page here, as text ----
  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const svg = (tag, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
    return element;
  };
  const symbol = (_board, sampler) => byId("marks").children[sampler].cloneNode(true);
  const number = (value, decimals) =>
    value === null || value === undefined || Number.isNaN(value) ? "–" : value.toFixed(Math.abs(value) >= 100 ? Math.min(decimals, 1) : decimals);

  // ---- pieces of data: in the page, or in scripts beside it ----
  const pieces = new Map();
  const arrived = new Map();
  const put = (key, payload) => arrived.set(key, payload);
  const fetchPiece = (key) => new Promise((resolve, reject) => {
    const inside = document.querySelector(`script[data-chunk="${CSS.escape(key)}"]`);
    if (inside) { resolve(JSON.parse(inside.textContent)); return; }
    const script = make("script");
    script.src = `data/${key}.js`;
    script.onload = () => { script.remove(); resolve(arrived.get(key)); arrived.delete(key); };
    script.onerror = () => { script.remove(); pieces.delete(key); reject(new Error(`data/${key}.js is not there`)); };
    document.head.append(script);
  });
  const chunk = (key) => {
    if (!pieces.has(key)) pieces.set(key, fetchPiece(key));
    return pieces.get(key);
  };
  const once = (make_) => {
    const made = new Map();
    return (key, ...rest) => { if (!made.has(key)) made.set(key, make_(key, ...rest)); return made.get(key); };
  };
  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

  const unpacked = once(async (key) => new Float32Array(bytes(await chunk(key)).buffer));
  const values = (board, name) =>
    unpacked(`b${board}/values/${name === "overall" ? name : index.boards[board].columns.findIndex((column) => column.name === name)}`);
  const prompts = once(async (board) => {
    const { prompts: asked, rows } = await chunk(`b${board}/prompts`);
    return rows.map(([place, image, seed, words, wanted_words, objects]) => {
      const [id, text, category, wanted] = asked[place];
      return { id, text, category, wanted, index: image, seed, words, wanted_words, objects };
    });
  });
  const images = async (board, row) => {
    const { chunk: size, notes, originals, samplers } = index.boards[board];
    if (!notes) return samplers.map(() => null);
    const piece = await chunk(`b${board}/images/${Math.floor(row / size)}`);
    return piece[row % size].map((image) => image && {
      original: originals === null ? null : `${originals}/${image[0]}`,
      state: image[1],
      notes: Object.fromEntries(notes.map((note, place) => [note.name, image[2][place]])),
    });
  };
  const failures = (board) => chunk(`b${board}/failures`);

  // Only HTML that was made, and escaped, when the report was built comes this way.
  const html = async (key, element) => {
    const holder = document.createElement("template");
    holder.innerHTML = await chunk(key);
    element.replaceChildren(holder.content);
  };

  // ---- pictures ----
  const kept = once((board) => bytes(index.boards[board].thumbs));
  const hasThumb = (board, row, sampler) => {
    if (!index.boards[board].thumbs) return false;
    const place = sampler * index.boards[board].rows + row;
    return ((kept(board)[place >> 3] >> (place & 7)) & 1) === 1;
  };
  const absent = (text) => make("div", "absent", text);
  const picture = (board, row, sampler, image, prompt) => {
    if (!image) return absent(index.boards[board].notes ? "not made" : "not kept");
    const thumb = hasThumb(board, row, sampler);
    if (!thumb && !image.original) return absent("not kept");
    const shown = make("img");
    shown.loading = "lazy";
    shown.decoding = "async";
    shown.width = shown.height = 128;
    shown.alt = `${prompt ? prompt.text.slice(0, 200) : `row ${row}`}; ${index.boards[board].samplers[sampler]}${prompt ? `, seed ${prompt.seed}` : ""}`;
    shown.addEventListener("error", () => shown.replaceWith(absent("cannot be read")), { once: true });
    if (!thumb) shown.src = image.original;
    else if (byId("index").dataset.inline === undefined) shown.src = `thumbs/b${board}/${sampler}/${row}.webp`;
    else chunk(`b${board}/thumbs`).then((all) => { shown.src = all[`${sampler}/${row}`]; });
    return shown;
  };

  // ---- the address: #/view?name=value ----
  const views = new Map();
  const sections = [...document.querySelectorAll("section.view")];
  const parse = () => {
    const [, name, query] = /^#\/([a-z]+)(?:\?(.*))?$/.exec(location.hash) || [null, "overview", ""];
    return [byId(`view-${name}`) ? name : "overview", new URLSearchParams(query || "")];
  };
  const address = (name, params) => {
    const query = new URLSearchParams(Object.entries(params || {}).filter(([, value]) => value !== "" && value !== null && value !== undefined)).toString();
    return query ? `#/${name}?${query}` : `#/${name}`;
  };
  let current = "";
  const route = () => {
    if (location.hash && !location.hash.startsWith("#/")) return;
    const [name, params] = parse();
    const moved = name !== current;
    for (const section of sections) section.hidden = section.id !== `view-${name}`;
    for (const anchor of document.querySelectorAll("nav a[data-view]")) {
      if (anchor.dataset.view === name) {
        anchor.setAttribute("aria-current", "page");
        anchor.parentElement.scrollLeft = anchor.offsetLeft - anchor.parentElement.offsetLeft - 40;
      } else anchor.removeAttribute("aria-current");
    }
    if (moved) {
      const title = document.querySelector(`nav a[data-view="${name}"]`);
      document.title = `${title ? `${title.textContent} · ` : ""}${index.title} · glance-bench`;
      if (current) { scrollTo(0, 0); byId("main").focus({ preventScroll: true }); }
      current = name;
    }
    const shown = views.get(name);
    if (shown) Promise.resolve(shown.show(params)).catch((error) => {
      byId(`view-${name}`).prepend(make("p", "notice warn", `This view could not be shown: ${error.message}. If the report was copied, copy its whole folder.`));
    });
  };
  const view = (name, shown) => { views.set(name, shown); };
  const go = (name, params, replace = false) => {
    const wanted = address(name, params);
    if (replace) { history.replaceState(null, "", wanted); route(); } else if (location.hash !== wanted) location.hash = wanted;
  };
  addEventListener("hashchange", route);
  addEventListener("DOMContentLoaded", route);
  document.addEventListener("click", (event) => {
    const skip = event.target.closest("a.skip");
    if (skip) { event.preventDefault(); byId("main").focus(); }
  });

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

  return { index, make, svg, symbol, number, chunk, put, values, prompts, images, failures, html, picture, hasThumb, view, go, address };
})();
