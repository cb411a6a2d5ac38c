/** What a viewer does, and a record of it that does not come from the script under test. */

const video = /** @type {HTMLVideoElement} */ (document.getElementById("video"));

const PATIENCE = 30_000; // milliseconds

/**
 * Returns when a condition holds. Fails when it does not in time.
 * @param {() => boolean} condition
 */
async function until(condition) {
    for (const deadline = performance.now() + PATIENCE; !condition();) {
        if (performance.now() > deadline) throw new Error(`not in time: ${condition}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
}

/** @param {string} name */
async function once(name) {
    let seen = false;
    video.addEventListener(name, () => (seen = true), {once: true});
    await until(() => seen);
}

const scene = {
    video,
    until,
    once,
    /** @type {[number, number, number][]} from, to, and at which rate */
    played: [],
    script: "",
    /** @type {any[][]} the events of each request that the script has sent */
    bodies: [],
    /** @type {any[]} the address of each, and whether it may outlive the page */
    requests: [],
    underWay: 0,
    mostUnderWay: 0,
    /** Before it, no answer reaches the script. @type {Promise<void> | undefined} */
    answers: undefined,
    answer() {},
    /** @type {object[]} what the script said of its state */
    states: [],
    /** @type {any} */
    tracker: null,
    /** @type {Promise<void>} */
    through: Promise.resolve(),

    /** Puts a video on the page and tracks it. @param {any} options */
    async open({script, src, token, byCookie, ...options}) {
        scene.script = script;
        const send = window.fetch;
        window.fetch = async (url, request) => {
            if (typeof request?.body === "string") scene.bodies.push(JSON.parse(request.body).events);
            const {answers} = scene;
            scene.requests.push([String(url), request?.keepalive]);
            scene.mostUnderWay = Math.max(scene.mostUnderWay, ++scene.underWay);
            try {
                const answer = await send(url, request);
                await answers;
                return answer;
            } finally {
                scene.underWay -= 1;
            }
        };
        const {track} = await import(script);
        video.src = src;
        await until(() => video.readyState > 2);
        const given = byCookie ? undefined : async () => token ?? await /** @type {any} */ (window).mint();
        scene.tracker = track(video, {...options, token: given, onState: (/** @type {any} */ state) => scene.states.push(state)});
    },

    /** Plays up to a position, or to the end. @param {number} to @param {number} rate */
    async play(to, rate) {
        const from = video.ended ? 0 : video.currentTime;
        video.playbackRate = rate;
        await video.play();
        await until(() => video.ended || video.currentTime >= to);
        if (!video.ended) {
            video.pause();
            await until(() => video.paused);
        }
        scene.played.push([from, video.currentTime, rate]);
    },

    /** @param {number} to */
    async seek(to) {
        video.currentTime = to;
        await until(() => !video.seeking);
    },
};

Object.assign(window, {scene});
