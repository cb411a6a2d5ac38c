/** The token of the stand-alone page: in memory and `sessionStorage`, never in the address, a cookie or `localStorage`. */

const KEY = "course-analytics.token";

/**
 * The token of this tab: from the fragment `#token=…`, which is removed from the address at once, or kept from before.
 *
 * @returns {string}  "" without one
 */
export function tokenOfTab() {
    const given = new URLSearchParams(location.hash.slice(1)).get("token");
    if (given === null) return sessionStorage.getItem(KEY) ?? "";
    history.replaceState(history.state, "", location.pathname + location.search);
    keep(given);
    return given;
}

/**
 * Keeps the token until the tab is closed; "" forgets it.
 *
 * @param {string} token
 */
export function keep(token) {
    if (token) sessionStorage.setItem(KEY, token);
    else sessionStorage.removeItem(KEY);
}
