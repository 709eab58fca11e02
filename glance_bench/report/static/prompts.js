"use strict";
// Prompts: what every sampler made of a prompt from the same noise, in a row.
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
  // Smallest first. `at(sampler)` is a value of the row, large ones are good; `those` are the samplers that count.
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
  // Whoever picks a metric or a sampler wants to see it at its worst.
  on(form, "input", ({ target }) => {
    const sort = form.elements.namedItem("sort");
    if (["metric", "sampler"].includes(target.name) && !sort.value) sort.value = "worst";
  });
})();
