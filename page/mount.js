/**
 * The instructor's page, in an element of any page.
 *
 *     import {mount} from "/instructor/mount.js";
 *     mount(element, {endpoint: "https://analytics.example/api/v1/analytics", token: async () => jwt});
 */

import {placeOf, searchOf} from "./address.js";
import {api, Refused} from "./api.js";
import {patterns} from "./charts/figure.js";
import {fill, h, toggle} from "./dom.js";
import {formats} from "./format.js";
import {live} from "./live.js";
import {problem, signIn} from "./problems.js";
import {titles} from "./titles.js";
import {courseView} from "./views/course.js";
import {coursesView} from "./views/courses.js";
import {lectureView} from "./views/lecture.js";
import {LANGUAGES, languageOf, localeOf, wordsOf} from "./words.js";

/** @import {File, Token} from "./api.js" */
/** @import {Place} from "./address.js" */
/** @import {Heading, Surroundings, View} from "./views/view.js" */
/** @import {Words} from "./words.js" */

/**
 * @typedef {object} Options
 * @property {string} endpoint  "https://analytics.example/api/v1/analytics"
 * @property {Token} [token]  of the instructor, or a function that returns it, also after it has expired; without it,
 *     the token is in a cookie of the site
 * @property {(course: string, lecture: string) => string | undefined} [video]  the address of a lecture's video
 * @property {(token: string) => void} [signIn]  receives a token that the user has entered, or "" to sign out
 * @property {(title: string, language: string) => void} [onTitle]  is called with the title of what is shown
 */

/**
 * Shows the page in `element`. Its state is in the query of the site's address: `course`, `lecture`, `range`,
 * `compare`, `figure`, `sort`, `lang`.
 *
 * @param {HTMLElement} element
 * @param {Options} options
 * @returns {{unmount: () => void}}
 */
export function mount(element, options) {
    let ended = false;
    /** @type {(() => void) | null} */
    let end = null;

    /** Restarts the page in the language of the address. */
    async function begin() {
        const asked = placeOf(location.search).language;
        const words = await wordsOf(languageOf(asked ? [asked] : navigator.languages));
        if (ended) return;
        end?.();
        end = page(element, options, words, begin);
    }

    void begin();
    return {
        unmount() {
            ended = true;
            end?.();
            element.replaceChildren();
        },
    };
}

/**
 * The page in one language. Returns the function that ends it.
 *
 * @param {HTMLElement} root
 * @param {Options} options
 * @param {Words} words
 * @param {() => void} begin  with another language
 */
function page(root, options, words, begin) {
    const service = api(options);
    const courses = titles(service);
    const form = formats(localeOf(words.language, navigator.languages));
    let place = placeOf(location.search);
    /** @type {View} */
    let view;
    /** @type {ReturnType<typeof live>} */
    let loads;
    let hasNumbers = false;

    const trail = h("ol");
    const title = h("h1", {tabindex: -1});
    const asOf = h("span", {class: "as-of"});
    const again = h("button", {type: "button", click: () => loads.again()}, words.say("again"));
    const told = h("div", {class: "told", role: "alert"});
    const state = h("p", {class: "unseen", role: "status"});
    const out = h("button", {type: "button", hidden: true, click: () => signOut()}, words.say("sign.out"));
    const body = h("div", {class: "body"});
    const frame = h(
        "div",
        {class: "course-analytics", lang: words.language, click: follow},
        patterns(),
        h("header", {}, h("nav", {"aria-label": words.say("trail")}, trail), h("div", {class: "controls"}, languages(), out)),
        h("div", {class: "head"}, title, h("p", {class: "moment"}, asOf, " ", again)),
        told,
        state,
        body,
    );
    root.replaceChildren(frame);
    window.addEventListener("popstate", arrive);
    open();

    function languages() {
        const choices = LANGUAGES.map((each) =>
            h("option", {value: each, selected: each === words.language}, words.say(`language.${each}`)),
        );
        const select = h("select", {"aria-label": words.say("language"), change: () => go({language: choice()})}, ...choices);
        const choice = () => /** @type {Place["language"]} */ (select.value);
        return select;
    }

    /** Creates the view of the place, and loads it. */
    function open() {
        hasNumbers = false;
        /** @type {Surroundings} */
        const around = {
            api: service,
            courses,
            words,
            formats: form,
            get place() {
                return place;
            },
            go,
            download,
            video: options.video,
        };
        view = place.lecture ? lectureView(around) : place.course ? courseView(around) : coursesView(around);
        loads?.end();
        loads = live({load: (whole) => view.load(whole), show, fail});
        head({title: words.say(place.course ? "loading" : "courses.title")});
        fill(told);
        toggle(again, true);
        toggle(out, Boolean(options.signIn));
        body.replaceChildren(view.skeleton);
        body.className = "body";
        state.textContent = words.say("loading");
        loads.again();
    }

    /** @param {unknown} data */
    function show(data) {
        head(view.show(data));
        fill(told);
        body.classList.remove("stale");
        if (!hasNumbers) {
            body.replaceChildren(view.element);
            state.textContent = words.say("loaded");
        }
        hasNumbers = true;
        toggle(again, true);
    }

    /** @param {Refused} refused */
    function fail(refused) {
        state.textContent = "";
        if (refused.problem === "session") {
            over();
        } else if (refused.problem === "away" || (refused.problem === "invalid" && hasNumbers)) {
            body.classList.toggle("stale", hasNumbers);
            fill(told, problem(words, refused, hasNumbers));
            told.querySelector("button")?.addEventListener("click", () => loads.again());
        } else {
            toggle(again, false);
            head({title: words.say(`problem.${refused.problem}.title`)});
            const way = refused.problem === "invalid" && step({range: "28"}, words.say("problem.range"));
            body.replaceChildren(problem(words, refused, false, way));
            body.querySelector("button")?.addEventListener("click", () => loads.again());
            hasNumbers = false;
        }
    }

    /** The user is not signed in, or no longer. */
    function over() {
        const first = !hasNumbers;
        loads.end();
        hasNumbers = false;
        fill(told);
        toggle(again, false);
        toggle(out, false);
        head({title: words.say(first ? "sign.title" : "session.title")});
        body.className = "body";
        body.replaceChildren(signIn(words, options.signIn ? enter : null, open));
        if (!first) title.focus();
    }

    /** @param {string} token */
    function enter(token) {
        options.signIn?.(token);
        open();
        title.focus();
    }

    function signOut() {
        options.signIn?.("");
        courses.forget();
        hasNumbers = false;
        over();
        title.focus();
    }

    /** @param {Heading} heading */
    function head(heading) {
        fill(title, heading.title);
        const moment = heading.asOf && form.moment(heading.asOf, heading.zone);
        fill(asOf, moment ? words.say("asOf", {moment}) : "");
        const steps = [place.course && step({course: "", lecture: ""}, words.say("courses.title"))];
        if (place.lecture) steps.push(step({lecture: ""}, heading.course ?? words.say("course")));
        fill(trail, ...steps.map((each) => each && h("li", {}, each)));
        options.onTitle?.(heading.title, words.language);
    }

    /** @param {Partial<Place>} change @param {string} text */
    function step(change, text) {
        const search = searchOf({...place, ...change}, location.search);
        return h("a", {href: search || "?", "data-to": JSON.stringify(change)}, text);
    }

    /** A click on a link of ours stays in this page, unless the user wants another tab. @param {MouseEvent} event */
    function follow(event) {
        const to = /** @type {Element} */ (event.target).closest("a")?.dataset.to;
        if (to === undefined || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
        event.preventDefault();
        go(JSON.parse(to));
    }

    /** @param {Partial<Place>} change */
    function go(change) {
        const search = searchOf({...place, ...change}, location.search);
        if (search !== location.search) {
            history.pushState(null, "", `${location.pathname}${search}${location.hash}`);
        }
        arrive();
    }

    /** Shows what the address says. */
    function arrive() {
        const from = place;
        place = placeOf(location.search);
        if (from.language !== place.language) {
            void begin();
        } else if (from.course !== place.course || from.lecture !== place.lecture) {
            open();
            title.focus();
        } else if (view.move(place)) {
            body.classList.toggle("stale", hasNumbers);
            loads.again();
        }
    }

    /** Requests a file with the token, which a plain link cannot send. @param {() => Promise<File>} question */
    async function download(question) {
        try {
            const file = await question();
            const address = URL.createObjectURL(file.blob);
            h("a", {href: address, download: file.name}).click();
            URL.revokeObjectURL(address);
        } catch (error) {
            if (!(error instanceof Refused)) throw error;
            fail(error);
        }
    }

    return () => {
        loads.end();
        window.removeEventListener("popstate", arrive);
    };
}
