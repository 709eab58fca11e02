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

  const order = async (board, asked) => {
    const { samplers, reference, rows } = index.boards[board];
    if (samplers.length < 2) return new Uint32Array();
    const [found, drop, told] = await Promise.all([GB.matching(board, asked), drops(board, asked.metric), GB.failures(board)]);
    const both = new Set(asked.hide ? told.reference_failed : []);
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
      const facet = slice ? { [slice.slicing === "category" ? "category" : "length"]: slice.name } : {};
      link.href = GB.address("failures", { board, metric: column, sampler: samplers.indexOf(sampler), ...facet });
      return box("li", "", link);
    }));
  };

  GB.listing("failures", { order, item, begin });
})();
