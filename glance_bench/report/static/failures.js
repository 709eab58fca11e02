"use strict";
// Failures: images ranked by how far they fall behind the reference's from the same noise, with causes where known.
(() => {
  const { index, make, box } = GB;

  // How far each place lies below the reference, in the metric's unit; `overall` is in standard deviations.
  const drops = async (board, metric) => {
    const values = await GB.values(board, metric);
    if (metric === "overall") return (place) => values[place];
    const { rows, reference } = index.boards[board];
    const sign = GB.sign(GB.columnOf(board, metric));
    return (place) => sign * (values[reference * rows + (place % rows)] - values[place]);
  };

  // The rows at which the reference's own value is below half of its mean, or above its double where less is better.
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
