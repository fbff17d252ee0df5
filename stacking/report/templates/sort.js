"use strict";
// Tables sort by a click on a heading, or by Enter or Space on it; a second time turns the order around.
for (const table of document.querySelectorAll("table")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    if (!heading.dataset.sort) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    const numbers = heading.dataset.sort === "number";
    const key = (row) => {
      const cell = row.cells[column];
      return numbers ? (cell.dataset.v === undefined ? NaN : Number(cell.dataset.v)) : cell.textContent;
    };
    button.addEventListener("click", () => {
      // Numbers begin with the largest, names with the first; cells without a number stay last.
      const now = heading.getAttribute("aria-sort");
      const rising = now ? now !== "ascending" : !numbers;
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const body = table.tBodies[0];
      const sign = rising ? 1 : -1;
      const rows = [...body.rows].map((row) => [key(row), row]);
      rows.sort(([a], [b]) => {
        if (!numbers) return sign * a.localeCompare(b, "en", { numeric: true });
        if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
        return sign * (a - b);
      });
      body.append(...rows.map(([, row]) => row));
    });
  });
}
