// Uses a report as a reader would, and sends what it found to the page that the report is framed in.
const wrong = [];
const check = (good, what) => good || wrong.push(what);
const shown = (table) => [...table.tBodies[0].rows].map((row) => row.textContent);

function ascends(table, column) {
  const cells = [...table.tBodies[0].rows].filter((row) => !row.classList.contains("oracle")).map((row) => row.cells[column]);
  const texts = cells.map((cell) => cell.dataset.sort ?? (cell.firstChild?.textContent.trim() || cell.textContent.trim()));
  const there = texts.filter((text) => text && text !== "–");
  const numbers = there.map((text) => parseFloat(text.replaceAll(",", "")));
  if (numbers.some(isNaN)) return true;
  return texts.slice(0, there.length).every((text) => text !== "–") && numbers.every((n, at) => !at || numbers[at - 1] <= n);
}

const tables = [...document.querySelectorAll("table")];
let moved = 0;
for (const table of tables) {
  const name = table.caption.textContent, before = shown(table).join();
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const at = `${name}, column ${column}`;
    head.querySelector("button").click();
    check(head.getAttribute("aria-sort") === "ascending", `${at}: not ascending`);
    check(ascends(table, column), `${at}: not in order`);
    moved += shown(table).join() !== before;
    head.querySelector("button").click();
    check(head.getAttribute("aria-sort") === "descending", `${at}: not descending`);
    moved += shown(table).join() !== before;
    head.querySelector("button").click();
    check(!head.hasAttribute("aria-sort") && shown(table).join() === before, `${at}: not as it came`);
  });
}

const fields = [...document.querySelectorAll("input[type=search]")];
for (const field of fields) {
  const rows = [...field.parentElement.nextElementSibling.querySelectorAll("tbody tr")];
  const type = (text) => { field.value = text; field.dispatchEvent(new Event("input")); };
  const name = rows.at(-1).cells[0].textContent;
  type(name);
  const left = rows.filter((row) => row.offsetHeight || !row.hidden);
  check(left.length && left.every((row) => row.cells[0].textContent.includes(name.trim())), `filter ${name}`);
  check(field.nextElementSibling.textContent === `${left.length} of ${rows.length}`, `count ${name}`);
  type("");
  check(rows.every((row) => !row.hidden), `filter ${name} stays`);
}

const closed = () => [...document.querySelectorAll("details:not([open])")].length;
const folded = closed(), height = document.documentElement.scrollHeight;
dispatchEvent(new Event("beforeprint"));
check(closed() === 0, "folds are closed on paper");
for (const box of document.querySelectorAll(".scroll")) check(box.clientHeight <= innerHeight, "a table is higher than the window");
for (const head of document.querySelectorAll("thead th")) check(getComputedStyle(head).position === "sticky", "a header scrolls away");
check(document.documentElement.scrollWidth <= innerWidth, `the page is wider than the window, ${document.documentElement.scrollWidth} px`);
dispatchEvent(new Event("afterprint"));
check(closed() === folded, "folds stay open after printing");

const links = [...document.querySelectorAll("a[href^='#']")];
let followed = 0;
function follow() {
  const link = links[followed++];
  if (!link || followed > 40) {
    const found = { wrong, errors, tables: tables.length, moved, fields: fields.length, folded, height, links: links.length, width: innerWidth };
    parent.postMessage(JSON.stringify(found), "*");
    return;
  }
  link.click();
  setTimeout(() => {
    const target = document.querySelector(`[id="${decodeURIComponent(link.hash.slice(1))}"]`);
    check(target?.checkVisibility(), `${link.hash} is not visible`);
    const fold = target?.tagName === "SECTION" ? target.querySelector("details") : target;
    check(!fold || fold.tagName !== "DETAILS" || fold.open, `${link.hash} is folded`);
    follow();
  }, 5);
}
follow();
