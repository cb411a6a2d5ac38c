/** What a viewer does, and a record of it that does not come from the script under test. */

const video = /** @type {HTMLVideoElement} */ (document.getElementById("video"));

/** @param {() => boolean} condition */
function until(condition) {
    return /** @type {Promise<void>} */ (new Promise((resolve) => {
        const timer = setInterval(() => condition() && (clearInterval(timer), resolve()), 10);
    }));
}

/** @param {string} name */
const once = (name) => new Promise((resolve) => video.addEventListener(name, resolve, {once: true}));

const scene = {
    video,
    until,
    once,
    /** @type {[number, number, number][]} from, to, and at which rate */
    played: [],
    /** @type {object[]} what the script said of its state */
    states: [],
    /** @type {any} */
    tracker: null,

    /** Puts a video on the page and tracks it. @param {any} options */
    async open({script, src, token, ...options}) {
        const {track} = await import(script);
        video.src = src;
        await until(() => video.readyState > 2);
        const given = async () => token ?? await /** @type {any} */ (window).mint();
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
