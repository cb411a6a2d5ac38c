/** Elements. Text is inserted as text, never as markup. */

/** @typedef {string | Node | null | undefined | false | Child[]} Child */
/** @typedef {Record<string, string | number | boolean | null | undefined | ((event: any) => void)>} Attributes */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An HTML element. Function attributes become listeners for the event of that name; false, null and undefined ones are
 * omitted; true ones are empty.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, attributes = {}, ...children) {
    return /** @type {any} */ (filled(document.createElement(tag), attributes, children));
}

/**
 * An SVG element.
 *
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[Tag]}
 */
export function s(tag, attributes = {}, ...children) {
    return /** @type {any} */ (filled(document.createElementNS(SVG, tag), attributes, children));
}

/**
 * @param {Element} element
 * @param {Attributes} attributes
 * @param {Child[]} children
 */
function filled(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
        if (typeof value === "function") element.addEventListener(name, value);
        else if (value === true) element.setAttribute(name, "");
        else if (value !== false && value != null) element.setAttribute(name, String(value));
    }
    element.append(...nodes(children));
    return element;
}

/**
 * @param {Child[]} children
 * @returns {(string | Node)[]}
 */
function nodes(children) {
    return children.flatMap((child) => (Array.isArray(child) ? nodes(child) : child || child === "" ? [child] : []));
}

/**
 * Replaces the old children by these, unless they are equal: the focused element keeps the focus.
 *
 * @param {Element} element
 * @param {...Child} children
 */
export function fill(element, ...children) {
    const fresh = filled(/** @type {Element} */ (element.cloneNode(false)), {}, children);
    if (!fresh.isEqualNode(element)) element.replaceChildren(...fresh.childNodes);
}

/**
 * Shows or hides an element.
 *
 * @param {HTMLElement} element
 * @param {boolean} visible
 */
export function toggle(element, visible) {
    if (element.hidden === visible) element.hidden = !visible;
}
