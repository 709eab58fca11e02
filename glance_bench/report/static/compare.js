"use strict";
// Compare: which two samplers are shown; what is shown of them was made when the report was built.
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
  // Who chooses for one side what stands on the other exchanges the two.
  a.addEventListener("change", () => { const now = Number(a.value); go(now, now === before[1] ? before[0] : before[1]); });
  b.addEventListener("change", () => { const now = Number(b.value); go(now === before[0] ? before[1] : before[0], now); });
  swap.addEventListener("click", () => go(before[1], before[0]));
  GB.view("compare", { show });
})();

// Papers: its tables are loaded when somebody looks. Schedule: the board in the address is brought into sight.
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
