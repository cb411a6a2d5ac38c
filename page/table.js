/** A table that keeps its rows when their numbers change. */

import {fill, h, s} from "./dom.js";

/** @import {Child} from "./dom.js" */
/** @import {Words} from "./words.js" */

/** A cell: what it shows, and the bare number behind it. @typedef {{text: Child, value?: number | string}} Cell */
/** @typedef {{key: string, cells: Cell[]}} Row */

/**
 * @typedef {object} Column
 * @property {string} name
 * @property {boolean} [number]  stands right
 * @property {"ascending" | "descending" | "none"} [sorted]  for one that can be sorted by
 * @property {() => void} [sort]
 */

const MANY = 100;

/**
 * A table that can be updated. Of many rows it shows the first, and the rest on demand.
 *
 * @param {Words} words
 * @param {string} name  what it is a table of
 */
export function table(words, name) {
    /** @type {Map<string, HTMLTableRowElement>} */
    let known = new Map();
    /** @type {Column[]} */
    let columns = [];
    /** @type {Row[]} */
    let rows = [];
    let all = false;

    const head = h("tr");
    const body = h("tbody");
    const more = h("button", {type: "button", hidden: true, click: showAll});
    const element = h(
        "div",
        {class: "scroll", role: "region", tabindex: 0, "aria-label": name},
        h("table", {}, h("caption", {class: "unseen"}, name), h("thead", {}, head), body),
        more,
    );

    function showAll() {
        all = true;
        show(columns, rows);
        element.focus();
    }

    /** @param {Column[]} newColumns @param {Row[]} newRows */
    function show(newColumns, newRows) {
        [columns, rows] = [newColumns, newRows];
        if (head.children.length !== columns.length) head.replaceChildren(...columns.map(() => h("th", {scope: "col"})));
        columns.forEach((column, n) => heading(/** @type {HTMLElement} */ (head.children[n]), n, column));
        const visible = all ? rows : rows.slice(0, MANY);
        const next = new Map(visible.map((row) => [row.key, filled(known.get(row.key), row)]));
        const order = [...next.values()];
        if (order.some((row, n) => body.children[n] !== row) || body.children.length !== order.length) {
            body.replaceChildren(...order);
        }
        known = next;
        more.hidden = visible.length === rows.length;
        fill(more, words.say("table.all", {n: rows.length}));
    }

    /** @param {HTMLElement} cell @param {number} n @param {Column} column */
    function heading(cell, n, column) {
        cell.className = column.number ? "number" : "";
        if (!column.sorted) {
            fill(cell, column.name);
            return;
        }
        cell.setAttribute("aria-sort", column.sorted);
        const button = cell.querySelector("button") ?? cell.appendChild(sorter(n));
        fill(button, column.name, arrow(column.sorted));
    }

    /** @param {number} n */
    const sorter = (n) => h("button", {type: "button", class: "sort", click: () => columns[n]?.sort?.()});

    /** @param {HTMLTableRowElement | undefined} old @param {Row} row */
    function filled(old, {cells}) {
        const line = old ?? h("tr");
        while (line.children.length < cells.length) line.append(h(line.children.length ? "td" : "th"));
        cells.forEach((cell, n) => {
            const place = /** @type {HTMLElement} */ (line.children[n]);
            if (!n) place.setAttribute("scope", "row");
            place.className = columns[n]?.number ? "number" : "";
            fill(place, cell.value === undefined ? cell.text : h("data", {value: cell.value}, cell.text));
        });
        return line;
    }

    return {element, show};
}

/** @param {"ascending" | "descending" | "none"} sorted */
function arrow(sorted) {
    const [up, down] = ["M0 6L4 0L8 6Z", "M0 8L4 14L8 8Z"];
    const d = {ascending: up, descending: down, none: up + down}[sorted];
    return s("svg", {viewBox: "0 0 8 14", "aria-hidden": "true"}, s("path", {d}));
}
