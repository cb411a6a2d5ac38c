/** The stand-alone page: its token comes from a box, or from the fragment `#token=…`. */

import {mount} from "./mount.js";
import {keep, tokenOfTab} from "./session.js";

let token = tokenOfTab();
addEventListener("hashchange", () => {
    const given = tokenOfTab();
    if (given !== token) location.reload();
});

mount(/** @type {HTMLElement} */ (document.querySelector("main")), {
    endpoint: new URL("/api/v1/analytics", location.href).href,
    token: () => token,
    signIn(entered) {
        token = entered;
        keep(entered);
    },
    onTitle(title, language) {
        document.title = `${title} · Course analytics`;
        document.documentElement.lang = language;
    },
});
