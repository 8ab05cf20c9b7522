"use strict";

function reveal() {
  const target = document.getElementById(location.hash.slice(1));
  for (let node = target; node; node = node.parentElement) {
    if (node.tagName === "DETAILS") node.open = true;
  }
  if (target) target.scrollIntoView();
}

function cellValue(row, column) {
  const text = row.cells[column].textContent.trim();
  const number = parseFloat(text.replace(/,/g, ""));
  return Number.isNaN(number) ? text : number;
}

function sortBy(header) {
  const body = header.closest("table").tBodies[0];
  const column = header.cellIndex;
  const down = header.getAttribute("aria-sort") !== "descending";
  const compare = (a, b) => {
    const x = cellValue(a, column);
    const y = cellValue(b, column);
    if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;
    const order = typeof x === "number" ? x - y : x.localeCompare(y);
    return down ? -order : order;
  };
  for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  body.append(...Array.from(body.rows).sort(compare));
}

for (const header of document.querySelectorAll("table.sortable th")) {
  header.tabIndex = 0;
  header.addEventListener("click", () => sortBy(header));
  header.addEventListener("keydown", (event) => {
    if (event.key === "Enter") sortBy(header);
  });
}

for (const button of document.querySelectorAll("button.toggle")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const groups = Array.from(document.querySelectorAll("details.group"));
    const open = groups.some((group) => !group.open);
    for (const group of groups) group.open = open;
    button.textContent = open ? "Close all groups" : "Open all groups";
  });
}

window.addEventListener("hashchange", reveal);
reveal();
