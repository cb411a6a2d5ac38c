/** Reloads data periodically while the page is visible. */

import {Refused} from "./api.js";

const EVERY_MS = 10_000;

/**
 * Loads at once, every ten seconds while the page is visible, when it becomes visible, and on demand.
 *
 * Requests are numbered: a response that arrives after a later request was sent, or after the end, is dropped. After a
 * permanent error it waits for `again`.
 *
 * @template Data
 * @param {object} what
 * @param {(whole: boolean) => Promise<Data>} what.load  everything, or only the live data
 * @param {(data: Data) => void} what.show
 * @param {(refused: Refused) => void} what.fail
 */
export function live({load, show, fail}) {
    let number = 0;
    let timer = 0;
    let waits = false;

    /** @param {boolean} whole */
    async function run(whole) {
        const mine = ++number;
        clearTimeout(timer);
        try {
            const data = await load(whole);
            if (mine !== number) return;
            waits = false;
            show(data);
        } catch (error) {
            if (mine !== number) return;
            if (!(error instanceof Refused)) throw error;
            waits = error.problem !== "away";
            fail(error);
        }
        if (mine === number) timer = setTimeout(onTime, EVERY_MS);
    }

    function onTime() {
        if (document.visibilityState === "visible" && !waits) void run(false);
    }

    document.addEventListener("visibilitychange", onTime);
    return {
        again: () => void run(true),
        end() {
            number++;
            clearTimeout(timer);
            document.removeEventListener("visibilitychange", onTime);
        },
    };
}
