// Makes tables sortable by their heads, long ones searchable, long and folded ones savable, and switches between light and dark.
// The page is complete without it: it only moves and hides rows.
"use strict";
(() => {
  const UNITS = { "µs": 1e-6, ms: 1e-3 };

  function words(cell) { // its parts apart, which stand one below the other
    return [...cell.childNodes].map((node) => node.textContent).join(" ").replace(/\s+/g, " ").trim();
  }

  function keyOf(row, column) {
    let end = 0;
    const cell = [...row.cells].find((each) => (end += each.colSpan) > column);
    const text = cell?.colSpan === 1 ? words(cell) : ""; // what spans several columns is a value of none
    const found = /^[✓✗○]?\s*([-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?)(?:\s*(µs|ms)\b)?/.exec(text);
    const number = found ? Number(found[1].replaceAll(",", "")) * (UNITS[found[2]] ?? 1) : NaN;
    return { text, number, empty: text === "" || text === "-" };
  }

  function compare(a, b, sign) {
    if (a.empty || b.empty) return a.empty - b.empty; // what is missing comes last, whichever way round
    const numbers = [a, b].map((key) => Number.isNaN(key.number));
    if (!numbers[0] && !numbers[1]) return sign * (a.number - b.number);
    return numbers[0] - numbers[1] || sign * a.text.localeCompare(b.text, "en", { numeric: true });
  }

  function sort(table, head) {
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows].map((row) => ({ row, key: keyOf(row, head.cellIndex) }));
    rows.sort((a, b) => compare(a.key, b.key, sign));
    table.tBodies[0].append(...rows.map(({ row }) => row));
  }

  function button(act, ...content) {
    const made = document.createElement("button");
    made.type = "button";
    made.append(...content);
    made.addEventListener("click", act);
    return made;
  }

  function quoted(cell) { // as the CSV files beside the page have it: no formula, and no rank 2-3, which is a date
    const text = words(cell).replace(/^(\d+)-(\d+)$/, "$1 to $2");
    const runs = /^[-=+@]./.test(text) && Number.isNaN(Number(text));
    return `"${runs ? "'" : ""}${text.replaceAll('"', '""')}"${",".repeat(cell.colSpan - 1)}`;
  }

  function save(table) {
    const lines = [...table.rows].filter((row) => !row.hidden).map((row) => [...row.cells].map(quoted).join(","));
    const link = document.createElement("a"), text = `\ufeff${lines.join("\n")}\n`; // without that mark Excel reads no µ
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = `${table.caption.textContent.replace(/[^\w.]+/g, "-")}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  function otherScheme() {
    const { style } = document.documentElement;
    const dark = style.colorScheme ? style.colorScheme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    style.colorScheme = dark ? "light" : "dark";
  }

  document.querySelector("nav")?.append(button(otherScheme, "Light or dark"));

  for (const table of document.querySelectorAll(".wide > table")) {
    const rows = [...table.tBodies[0].rows], wide = table.parentNode, long = rows.length >= 9;
    for (const head of rows.length > 1 ? table.tHead.rows[0].cells : []) {
      head.append(button(() => sort(table, head), ...head.childNodes));
    }
    if (long) {
      const field = document.createElement("input");
      const told = document.createElement("output");
      field.type = "search";
      field.placeholder = "Filter rows";
      field.setAttribute("aria-label", `Filter: ${table.caption.textContent}`);
      field.addEventListener("input", () => {
        for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(field.value.toLowerCase());
        told.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
      });
      wide.before(field, told);
    }
    if (long || wide.parentNode.tagName === "DETAILS") wide.before(button(() => save(table), "Save as CSV"));
  }
})();
