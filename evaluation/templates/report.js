// Tables that sort and filter, and folds that open for links and for print; the page is whole without.
const LONG = 8; // lines from which a table has a filter

const make = (name, facts) => Object.assign(document.createElement(name), facts);

function key(cell) {
  const text = cell.dataset.sort ?? cell.firstChild?.textContent.trim() ?? "";
  const plain = (text || cell.textContent.trim()).replaceAll(",", "");
  const number = /^[-+]?(\d|\.\d|inf)/i.test(plain) ? parseFloat(plain.replace(/inf$/i, "Infinity")) : NaN;
  return { number, text: plain };
}

function order(one, other) {
  if (!isNaN(one.number) && !isNaN(other.number)) return one.number - other.number;
  return one.text.localeCompare(other.text, "en", { numeric: true });
}

const isMissing = ({ text }) => text === "" || text === "–";

// Sort by a column: rising, falling, then as the page came. Oracles and missing values stay last.
function sort(table, column) {
  const heads = [...table.tHead.rows[0].cells];
  const next = { ascending: "descending", descending: "none" };
  const way = next[heads[column].getAttribute("aria-sort")] ?? "ascending";
  for (const head of heads) head.removeAttribute("aria-sort");
  if (way !== "none") heads[column].setAttribute("aria-sort", way);
  const sign = { ascending: 1, descending: -1, none: 0 }[way];
  const lines = [...table.tBodies[0].rows].map((row) => ({ row, key: key(row.cells[column]) }));
  const last = (line) => [line.row.classList.contains("oracle"), sign !== 0 && isMissing(line.key)];
  lines.sort((a, b) => {
    const [a1, a2] = last(a), [b1, b2] = last(b);
    return a1 - b1 || a2 - b2 || sign * order(a.key, b.key) || a.row.place - b.row.place;
  });
  table.tBodies[0].append(...lines.map((line) => line.row));
}

function filter(table, wanted, count) {
  const rows = [...table.tBodies[0].rows];
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of rows) {
    const text = row.cells[0].textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
  count.textContent = words.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
}

for (const table of document.querySelectorAll(".scroll table")) {
  [...table.tBodies[0].rows].forEach((row, place) => (row.place = place));
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = make("button", { type: "button", title: "sort" });
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, column));
    head.append(button);
  });
  if (table.tBodies[0].rows.length >= LONG) {
    const what = table.tHead.rows[0].cells[0].textContent;
    const field = make("input", { type: "search", placeholder: `filter by ${what}` });
    field.setAttribute("aria-label", `${table.caption.textContent}: filter by ${what}`);
    const count = make("span", { role: "status" });
    field.addEventListener("input", () => filter(table, field.value, count));
    const bar = make("p", { className: "filter" });
    bar.append(field, count);
    table.parentElement.before(bar);
  }
}

// A link leads into folds that are closed.
function follow() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  const folds = target.tagName === "SECTION" ? target.querySelectorAll("details.all") : [];
  for (const fold of folds) fold.open = true;
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", follow);
follow();

// All folds are open on paper.
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const fold of closed) fold.open = true;
});
addEventListener("afterprint", () => closed.forEach((fold) => (fold.open = false)));
