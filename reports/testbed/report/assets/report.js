"use strict";
const GB = (() => {
const index = JSON.parse(document.getElementById("index").textContent);
const byId = (id) => document.getElementById(id);
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
const html = async (key, element) => {
const holder = document.createElement("template");
holder.innerHTML = await chunk(key);
element.replaceChildren(holder.content);
};
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
"use strict";
(() => {
for (const table of document.querySelectorAll("table.sortable")) {
const body = table.tBodies[0];
const heads = [...table.tHead.rows[0].cells];
const original = [...body.rows];
heads.forEach((head, place) => {
const button = head.querySelector("button");
if (!button) return;
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
})();
"use strict";
(() => {
const PAGE = 24;
const { index, make } = GB;
const box = (tag, className, ...children) => { const made = make(tag, className); made.append(...children); return made; };
const on = (target, type, act, options) => target.addEventListener(type, act, options);
const button = (className, ...children) => Object.assign(box("button", className, ...children), { type: "button" });
const place = (text, count, otherwise) => (/^\d+$/.test(text) && Number(text) < count ? Number(text) : otherwise);
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
const inOrder = (board) => [...new Set([index.boards[board].reference, ...index.boards[board].samplers.keys()])];
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
"use strict";
(() => {
const { make, box, on } = GB;
const align = (a, b, price) => {
const wide = b.length + 1;
const cost = new Float64Array((a.length + 1) * wide);
const way = new Uint8Array(cost.length);
for (let i = 0, at = 0; i <= a.length; i++) for (let j = 0; j <= b.length; j++, at++) {
const out = i ? cost[at - wide] + 1 : Infinity;
const added = j ? cost[at - 1] + 1 : Infinity;
const both = i && j ? cost[at - wide - 1] + price(a[i - 1], b[j - 1]) : Infinity;
cost[at] = i || j ? Math.min(both, out, added) : 0;
way[at] = both <= out && both <= added ? 0 : out < added ? 1 : 2;
}
const pairs = [];
for (let [i, j] = [a.length, b.length]; i || j;) {
const step = way[i * wide + j];
pairs.push([step === 2 ? null : --i, step === 1 ? null : --j]);
}
return { pairs: pairs.reverse(), cost: cost[cost.length - 1] };
};
const plain = (text) => text.normalize("NFKC").toLowerCase().replace(/[^\p{L}\p{M}\p{N}]/gu, ""); // as the metric judges
const equal = (x, y) => (x === y ? 0 : 3); // never replaced: leaving out and adding is cheaper
const CELLS = 160000; // pairs of letters, or of words, that are compared at most
const apart = (x, y) => (x === y ? 0 : x.length * y.length > CELLS ? 2 : (2 * align(x, y, equal).cost) / (x.length + y.length));
const pieces = (wanted, read, pairs, inside) => {
const made = [];
const add = (tag, text) => {
const end = made[made.length - 1];
if (end && end[0] === tag) end[1] += text; else made.push([tag, text]);
};
pairs.forEach(([i, j], at) => {
if (inside && at) add("", " ");
const parts = i !== null && j !== null && inside ? inside(wanted[i], read[j]) : null;
if (parts) for (const part of parts) add(...part);
else if (j === null) add("del", wanted[i]);
else add(i === null ? "ins" : "", read[j]);
});
return made;
};
const within = (x, y) => {
const share = apart(plain(x), plain(y));
if (share === 0) return [["", y]];
if (share > 1) return [["del", x], ["ins", y]];
const [a, b] = [[...x].filter(plain), [...y].filter(plain)];
return pieces(a, b, align(a.map((c) => c.toLowerCase()), b.map((c) => c.toLowerCase()), equal).pairs);
};
const compared = (wanted, read) => {
const [a, b] = [wanted, read].map((text) => (text || "").split(/\s+/).filter(plain));
if (!b.length) return box("bdi", "", make("del", "", wanted), " ", make("i", "", "nothing read"));
if (a.length * b.length > CELLS) return make("bdi", "", read);
const { pairs } = align(a.map(plain), b.map(plain), a.length * b.length > 900 ? equal : apart);
return box("bdi", "", ...pieces(a, b, pairs, within).map(([tag, text]) => (tag ? make(tag, "", text) : text)));
};
GB.compared = compared;
const order = async (board, asked) => {
const prompts = await GB.prompts(board);
const found = (await GB.matching(board, asked)).filter((row) => prompts[row].wanted.length);
if (!asked.sampler || !asked.metric) return found;
const values = await GB.values(board, asked.metric);
const sign = GB.sign(GB.columnOf(board, asked.metric));
return GB.ranked(found, (row) => sign * values[asked.sampler * prompts.length + row]);
};
const item = async (board, row, asked) => {
const column = GB.columnOf(board, asked.metric);
const seen = await GB.look(board, row, column ? [column] : []);
const { note } = form.elements.namedItem("metric").selectedOptions[0]?.dataset || {};
const wanted = seen.prompt.wanted;
const link = box("a", "", make("bdi", "", wanted.join(" / ")));
link.href = GB.address("prompt", { board, row, sampler: asked.sampler });
const head = box("th", "", link, make("small", "", seen.prompt.id));
head.scope = "row";
return box("tr", "", head, ...GB.inOrder(board).map((place) => {
const image = seen.images[place];
const value = column ? seen.columns[0].values[place * GB.index.boards[board].rows + row] : NaN;
const cell = box("td", "", image ? compared(wanted.join(" "), image.notes[note]) : "–");
if (!isNaN(value)) cell.append(make("small", "", `${value === 1 ? "✓ " : value === 0 ? "✗ " : ""}${GB.number(value, column.decimals)}`));
return cell;
}));
};
const heads = document.querySelector("#view-text thead tr");
const begin = (board, asked) => {
const focused = heads.contains(document.activeElement) && document.activeElement.dataset.sampler;
heads.replaceChildren(heads.firstElementChild, ...GB.inOrder(board).map((place) => {
const press = GB.button("", GB.named(board, place));
press.dataset.sampler = place;
const head = box("th", "", press);
head.scope = "col";
head.ariaSort = asked.sampler === String(place) ? "ascending" : "none";
return head;
}));
if (focused) heads.querySelector(`[data-sampler="${focused}"]`)?.focus();
};
on(heads, "click", ({ target }) => {
const press = target.closest("button");
if (!press) return;
const sampler = form.elements.namedItem("sampler");
sampler.value = sampler.value === press.dataset.sampler ? "" : press.dataset.sampler;
form.dispatchEvent(new Event("input"));
});
const form = GB.listing("text", { order, item, begin });
})();
"use strict";
(() => {
const { index, on } = GB;
const least = (samplers, value) => {
let low = NaN;
for (const sampler of samplers) {
const each = value(sampler);
if (each < low || isNaN(low)) low = each;
}
return low;
};
const KEYS = {
worst: (at, those) => least(those, at),
loss: (at, those, reference) => least(those, (sampler) => at(sampler) - at(reference)),
spread: (at, those, reference) => least([reference, ...those], at) + least([reference, ...those], (sampler) => -at(sampler)),
};
const order = async (board, asked) => {
const { samplers, columns, reference, rows } = index.boards[board];
const faster = asked.sampler === "" ? [...samplers.keys()].filter((sampler) => sampler !== reference) : [Number(asked.sampler)];
let found = await GB.matching(board, asked);
if (asked.failures) {
const broken = columns.some((column) => column.name === "failed" && column.images) ? await GB.values(board, "failed") : [];
const drop = samplers.length > 1 ? await GB.values(board, "overall") : [];
found = found.filter((row) => faster.some((sampler) => drop[sampler * rows + row] >= 2 || broken[sampler * rows + row] === 1));
}
if (!asked.sort || !asked.metric) return found;
const values = await GB.values(board, asked.metric);
const sign = GB.sign(GB.columnOf(board, asked.metric));
return GB.ranked(found, (row) => KEYS[asked.sort]((sampler) => sign * values[sampler * rows + row], faster.length ? faster : [reference], reference));
};
const item = async (board, row, asked) => {
const chosen = GB.place(asked.sampler, Infinity);
const seen = await GB.look(board, row, GB.shown(board, asked.metric));
const strip = GB.box("div", "strip", ...GB.inOrder(board).map((sampler) => GB.tile(seen, sampler, {
href: GB.address("prompt", { board, row, sampler }), chosen, sorted: asked.sort && asked.metric,
})));
strip.tabIndex = 0;
strip.role = "group";
strip.ariaLabel = "Samplers side by side";
return GB.entry(seen, chosen, strip);
};
const form = GB.listing("prompts", { order, item });
on(form, "input", ({ target }) => {
const sort = form.elements.namedItem("sort");
if (["metric", "sampler"].includes(target.name) && !sort.value) sort.value = "worst";
});
})();
"use strict";
(() => {
const { index, make, box } = GB;
const drops = async (board, metric) => {
const values = await GB.values(board, metric);
if (metric === "overall") return (place) => values[place];
const { rows, reference } = index.boards[board];
const sign = GB.sign(GB.columnOf(board, metric));
return (place) => sign * (values[reference * rows + (place % rows)] - values[place]);
};
const failedToo = async (board, metric) => {
const { rows, reference } = index.boards[board];
const own = (await GB.values(board, metric)).subarray(reference * rows, (reference + 1) * rows);
const known = own.filter((value) => !isNaN(value));
const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
const high = GB.columnOf(board, metric).better === "higher";
return [...own.keys()].filter((row) => mean > 0 && (high ? own[row] < mean / 2 : own[row] > 2 * mean));
};
const order = async (board, asked) => {
const { samplers, reference, rows } = index.boards[board];
if (samplers.length < 2) return new Uint32Array();
const [found, drop, told] = await Promise.all([GB.matching(board, asked), drops(board, asked.metric), GB.failures(board)]);
const metrics = asked.metric === "overall" ? told.columns.filter((name) => name !== "overall") : [asked.metric];
const both = new Set(asked.hide ? (await Promise.all(metrics.map((metric) => failedToo(board, metric)))).flat() : []);
const places = [];
for (const sampler of asked.sampler === "" ? samplers.keys() : [Number(asked.sampler)]) {
for (const row of found) if (sampler !== reference && drop(sampler * rows + row) > 0 && !both.has(row)) places.push(sampler * rows + row);
}
return GB.ranked(places, (place) => -drop(place));
};
const item = async (board, place, asked) => {
const { rows, reference } = index.boards[board];
const [sampler, row] = [Math.floor(place / rows), place % rows];
const [seen, drop, told] = await Promise.all([GB.look(board, row, GB.shown(board, asked.metric)), drops(board, asked.metric), GB.failures(board)]);
const column = GB.columnOf(board, asked.metric) || { decimals: 1, title: "standard deviations" };
const href = GB.address("prompt", { board, row, sampler });
return GB.entry(seen, sampler, box("div", "pair", ...[reference, sampler].map((each) => GB.tile(seen, each, { href, sorted: asked.metric })), box("div", "why",
make("p", "drop", `▼ ${GB.number(drop(place), column.decimals)} ${column.title}`),
box("ul", "", ...(told.causes[`${sampler}/${row}`] || []).map((cause) => make("li", "", cause))))));
};
const said = document.querySelector("#view-failures .sentences");
const begin = async (board) => {
const { samplers } = index.boards[board];
const { sentences } = samplers.length < 2 ? { sentences: [] } : await GB.failures(board);
said.replaceChildren(...sentences.map(({ text, column, sampler, slice }) => {
const link = make("a", "", text);
const facets = (slice || "").split("; ").map((part) => part.split(": ")).map(([slicing, name]) => [slicing === "category" ? "category" : "length", name]);
link.href = GB.address("failures", { board, metric: column, sampler: samplers.indexOf(sampler), ...Object.fromEntries(facets) });
return box("li", "", link);
}));
};
GB.listing("failures", { order, item, begin });
})();
"use strict";
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
const trail = () => {
const { rows } = index.boards[now.board];
const listed = GB.trail && GB.trail.board === now.board ? [...new Set(Array.from(GB.trail.places, (place) => place % rows))] : [];
return listed.includes(now.row) ? listed : [...Array(rows).keys()];
};
const step = (list, value, by) => list[(list.indexOf(value) + Number(by) + list.length) % list.length];
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
const SIZE = 76; // pixels of a picture and the gap beside it
const WIDE = 860;
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
"use strict";
(() => {
const byId = (id) => document.getElementById(id);
const [form, board, a, b, swap, pair] = ["pair-controls", "pair-board", "pair-a", "pair-b", "pair-swap", "pair"].map(byId);
const boards = GB.index.boards.filter((one) => one.samplers.length > 1);
const fill = (select, entries) => select.replaceChildren(...entries.map(([value, text]) => {
const option = GB.make("option", "", text);
option.value = value;
return option;
}));
const samplers = () => GB.index.boards[Number(board.value)].samplers;
const place = (name, other) => { const at = samplers().indexOf(name); return at < 0 ? other : at; };
const go = (first, second) => GB.go("compare", { board: board.value, a: samplers()[first], b: samplers()[second] });
let [wanted, before] = ["", [0, 1]];
const show = async (params) => {
if (!boards.length) return;
const shown = boards.find((one) => String(one.number) === params.get("board")) || boards[0];
board.value = String(shown.number);
for (const select of [a, b]) fill(select, shown.samplers.map((name, at) => [String(at), name]));
const first = place(params.get("a"), shown.reference);
let second = place(params.get("b"), shown.samplers.findIndex((_, at) => at !== first));
if (second === first) second = shown.samplers.findIndex((_, at) => at !== first);
before = [first, second];
[a.value, b.value] = before.map(String);
const key = `b${shown.number}/pair/${first}-${second}`;
if (key === wanted) return;
wanted = key;
pair.setAttribute("aria-busy", "true");
const holder = GB.make("div");
try { await GB.html(key, holder); } catch (error) { wanted = ""; throw error; }
if (key === wanted) { pair.replaceChildren(...holder.childNodes); pair.setAttribute("aria-busy", "false"); }
};
fill(board, boards.map((one) => [String(one.number), one.label]));
form.hidden = !boards.length;
form.addEventListener("submit", (event) => event.preventDefault());
board.addEventListener("change", () => GB.go("compare", { board: board.value }));
a.addEventListener("change", () => { const now = Number(a.value); go(now, now === before[1] ? before[0] : before[1]); });
b.addEventListener("change", () => { const now = Number(b.value); go(now === before[0] ? before[1] : before[0], now); });
swap.addEventListener("click", () => go(before[1], before[0]));
GB.view("compare", { show });
})();
(() => {
const paper = document.getElementById("paper");
let asked = false;
GB.view("papers", { show: () => {
if (asked || !paper) return undefined;
asked = true;
return GB.html(paper.dataset.piece, paper).catch((error) => { asked = false; throw error; });
} });
GB.view("schedule", { show: (params) => {
const place = params.has("board") && document.getElementById(`schedule-board-${params.get("board")}`);
if (place) place.scrollIntoView();
} });
})();
