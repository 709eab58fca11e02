"use strict";
// Tables whose headings sort: table.sortable, a button in each heading, data-value in each cell.
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
