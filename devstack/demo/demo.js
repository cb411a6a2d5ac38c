/** The page of a lecture, as a course site would write it. */

import {track} from "/player/track.js";

const endpoint = new URL("/api/v1/analytics", location.href).href;
const courseId = "650000000000000000000001";
const lectureId = "650000000000000000000011";

/**
 * What the address gives in its fragment, and this tab keeps from then on.
 * @param {string} name
 */
function given(name) {
    const value = new URLSearchParams(location.hash.slice(1)).get(name);
    if (value) sessionStorage.setItem(`demo.${name}`, value);
    return sessionStorage.getItem(`demo.${name}`) ?? "";
}

const token = given("token");
const instructor = given("instructor");
history.replaceState(null, "", location.pathname); // no token stays in the address

if (instructor) {
    const link = /** @type {HTMLAnchorElement} */ (document.getElementById("instructor"));
    link.href = `/instructor/?course=${courseId}&lecture=${lectureId}#token=${instructor}`;
}

const state = /** @type {HTMLElement} */ (document.getElementById("state"));
if (token) {
    fetch(`${endpoint}/view/${courseId}`, {method: "POST", headers: {authorization: `Bearer ${token}`}});
    track(/** @type {HTMLVideoElement} */ (document.querySelector("video")), {
        endpoint,
        courseId,
        lectureId,
        token: async () => token,
        onState({sent, waiting, problem}) {
            state.textContent = `${sent} ping${sent === 1 ? "" : "s"} sent, ${waiting} waiting${problem && `: ${problem}`}.`;
        },
    });
} else {
    state.textContent = "Open the address that `make run` has printed: it has a token.";
}
