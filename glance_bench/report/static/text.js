"use strict";
// Text: what was wanted against what was read, word by word, and inside a word letter by letter.
(() => {
  const { make, box, on } = GB;

  // The cheapest way from list a to list b, as pairs of places, null for none: leaving out and adding cost 1, replacing
  // costs what `price` says of two entries.
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
  // 0 for equal words to 2 for words without a common letter.
  const apart = (x, y) => (x === y ? 0 : x.length * y.length > CELLS ? 2 : (2 * align(x, y, equal).cost) / (x.length + y.length));

  // Pieces [tag, text] of two lists: "del" is wanted and was not read, "ins" was read and is not wanted, "" is both.
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
    // Of many words it is only asked whether they are equal: to compare all their letters would take seconds.
    const { pairs } = align(a.map(plain), b.map(plain), a.length * b.length > 900 ? equal : apart);
    return box("bdi", "", ...pieces(a, b, pairs, within).map(([tag, text]) => (tag ? make(tag, "", text) : text)));
  };
  GB.compared = compared;

  // ---- the view: a prompt a line, a sampler a column ----
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
