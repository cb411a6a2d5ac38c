// @ts-check
/**
 * Reports to the analytics service how many seconds of a video are watched, and which parts.
 *
 * A meter measures the video; one outbox per page sends the results. `track` ties them to the page's life cycle.
 */

/**
 * @typedef {object} Options
 * @property {string} endpoint where the API is: `https://analytics.example/api/v1/analytics`
 * @property {string} courseId 24 hexadecimal digits
 * @property {string} lectureId 24 hexadecimal digits
 * @property {() => string | Promise<string>} [token] returns the viewer's JWT; called again when it was rejected.
 *     Without it the JWT is in a cookie of the site
 * @property {number} [pingSeconds] the interval between reports; 5 by default
 * @property {RequestCredentials} [credentials] of the requests; "omit" by default, without `token` "include"
 * @property {(state: State) => void} [onState] is called at every change
 */

/**
 * @typedef {object} State
 * @property {number} waiting pings that are not acknowledged yet
 * @property {number} sent pings that were acknowledged
 * @property {number} dropped pings that are lost: rejected, too many, or too old to be retried safely
 * @property {string} problem why the last ones were not acknowledged or dropped; empty when all is well
 */

/**
 * @typedef {object} Tracker
 * @property {(lectureId: string) => void} lecture continues with another lecture on the same element
 * @property {() => Promise<void>} flush sends pending pings; returns when they are acknowledged or cannot be sent now
 * @property {() => void} stop sends pending pings, and stops tracking the element
 */

/**
 * @typedef {object} Ping
 * @property {object} telemetry the event, as the API expects it
 * @property {string} id its eventId
 * @property {number[]} [tried] when it was first sent, by two clocks
 */

const STORE = "course-analytics";
const MOST_WAITING = 120;
const MOST_BYTES = 16384; // per body: browsers send little more than that after a page has ended
const SAFE_SECONDS = 800; // the service remembers an eventId for 900
const PLAYBACK_SECONDS = 1800; // without a ping, after which a new playback begins
const LONGEST_SECONDS = 43200; // of video for which parts are reported
const IN_COOKIE = "in a cookie"; // in place of a token; tokens have no spaces
const EVENTS = ["timeupdate", "seeking", "seeked", "ratechange", "playing", "pause", "waiting", "stalled", "ended",
    "emptied", "volumechange"];

/** @type {WeakMap<HTMLMediaElement, Tracker>} */
const trackers = new WeakMap();
/** @type {Map<string, Outbox>} */
const outboxes = new Map();

/**
 * Reads or replaces what this tab keeps across a reload. Where storage is forbidden nothing is kept.
 * @param {string} name
 * @param {unknown} [value]
 */
function kept(name, value) {
    try {
        const key = `${STORE}:${name}`;
        if (value !== undefined) sessionStorage.setItem(key, JSON.stringify(value));
        return JSON.parse(sessionStorage.getItem(key) ?? "null");
    } catch {
        return null;
    }
}

/** Not `randomUUID`, which needs https. */
function randomId() {
    return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Seconds by two clocks: one of them may stop while the machine sleeps. */
function clocks() {
    return [Date.now() / 1000, (performance.timeOrigin + performance.now()) / 1000];
}

/** @param {number[]} [since] */
function age(since) {
    return since ? Math.max(...clocks().map((now, i) => now - since[i])) : 0;
}

/** @param {number} seconds */
const tenths = (seconds) => Math.round(seconds * 10) / 10;

/** Measures what is played: wall-clock seconds, and ranges of the video's time. */
class Meter {
    seconds = 0;
    duration = NaN;
    /** @type {[number, number][]} */
    ranges = [];
    /** @type {{wall: number, at: number, rate: number} | null} the last observation, if counting continues from it */
    last = null;

    /** @param {HTMLMediaElement} video */
    constructor(video) {
        this.video = video;
    }

    /**
     * Observes the video, and counts from the last observation if the video has simply played on: at most the elapsed
     * time, or less when the video had to wait for data.
     * @param {boolean} sought whether it may have jumped
     */
    look(sought) {
        const {video, last} = this;
        const wall = performance.now() / 1000;
        const at = video.currentTime;
        if (last) {
            const due = (wall - last.wall) * last.rate;
            const looped = video.loop && at < last.at;
            const moved = at - last.at + (looped ? video.duration : 0);
            if ((looped || !sought) && moved > 0 && moved <= 0.5 + due * 1.1) {
                this.seconds += moved / last.rate;
                this.duration = video.duration;
                if (looped) this.add(last.at, video.duration);
                this.add(looped ? 0 : last.at, at);
            }
        }
        const unnoticed = document.visibilityState === "hidden" && (video.muted || !video.volume);
        const counts = !video.paused && !video.seeking && video.readyState > 2 && !unnoticed;
        this.last = counts ? {wall, at, rate: video.playbackRate} : null;
    }

    /**
     * @param {number} from
     * @param {number} to
     */
    add(from, to) {
        const open = this.ranges.at(-1);
        if (open && open[1] === from) open[1] = to;
        else this.ranges.push([from, to]);
    }

    /**
     * What was played since the last call: whole seconds, keeping the remainder, and the parts. Null without a whole
     * second, unless nothing may follow and at least a second of the video was played, as at high speed.
     * @param {boolean} last
     */
    take(last) {
        const whole = Math.min(Math.round(this.seconds), 300);
        const told = this.duration <= LONGEST_SECONDS; // neither live nor very long
        const seen = told && last ? this.ranges.reduce((sum, [from, to]) => sum + to - from, 0) : 0;
        if (whole < 1 && seen < 1) return null;
        this.seconds -= whole;
        const played = this.ranges.splice(0)
            .map(([from, to]) => ({fromSeconds: tenths(from), toSeconds: tenths(to)}))
            .filter(({fromSeconds, toSeconds}) => fromSeconds < toSeconds);
        const watchTimeDelta = whole || 0.1; // counts as 0
        return told ? {watchTimeDelta, played, durationSeconds: this.duration} : {watchTimeDelta};
    }
}

/** Sends pings to one endpoint, one request at a time, until they are acknowledged. */
class Outbox {
    sent = 0;
    dropped = 0;
    problem = "";
    failures = 0;
    /** @type {Set<(state: State) => void>} */
    listeners = new Set();
    /** @type {Promise<void> | null} */
    sending = null;
    /** @type {Promise<string> | null} */
    asking = null;
    token = "";
    parted = "";
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    timer;

    /** @param {Options} options */
    constructor(options) {
        this.options = options;
        /** @type {Ping[]} */
        this.pings = kept(options.endpoint) ?? [];
    }

    /** @param {object} event */
    add(event) {
        const id = randomId();
        this.pings.push({id, telemetry: {...event, eventId: id}});
        if (this.pings.length > MOST_WAITING) this.drop(this.pings.slice(0, -MOST_WAITING), "too many");
        this.tell();
    }

    /** Stores pending pings, and reports the state. */
    tell() {
        kept(this.options.endpoint, this.pings);
        const {sent, dropped, problem} = this;
        for (const listener of this.listeners) listener({waiting: this.pings.length, sent, dropped, problem});
    }

    /** @param {Ping[]} done */
    remove(done) {
        const ids = new Set(done.map(({id}) => id));
        const before = this.pings.length;
        this.pings = this.pings.filter(({id}) => !ids.has(id));
        return before - this.pings.length;
    }

    /**
     * @param {Ping[]} lost
     * @param {string} problem
     */
    drop(lost, problem) {
        this.dropped += this.remove(lost);
        this.problem = problem;
    }

    /** As many as fit into one body, the oldest first; marks them as sent. */
    batch() {
        const old = this.pings.filter(({tried}) => age(tried) > SAFE_SECONDS);
        if (old.length) this.drop(old, "too old");
        let bytes = 0;
        const batch = this.pings.filter((ping) => (bytes += JSON.stringify(ping).length) < MOST_BYTES);
        for (const ping of batch) ping.tried ??= clocks();
        return batch;
    }

    /** Asks for a token, once for all callers. */
    renew() {
        this.asking ??= Promise.resolve()
            .then(() => this.options.token?.() ?? IN_COOKIE)
            .then((token) => (this.token = token))
            .finally(() => (this.asking = null));
        return this.asking;
    }

    /**
     * Always this URL and with `keepalive`: at a page's end a browser can send only to a URL preflighted before.
     * @param {Ping[]} batch
     * @param {AbortSignal} [signal]
     */
    post(batch, signal) {
        const byCookie = this.token === IN_COOKIE;
        return fetch(`${this.options.endpoint}/events:batch`, {
            method: "POST",
            headers: {
                ...(byCookie ? {"x-requested-with": "fetch"} : {authorization: `Bearer ${this.token}`}),
                "content-type": "application/json",
            },
            body: JSON.stringify({events: batch.map(({telemetry}) => ({telemetry}))}),
            credentials: this.options.credentials ?? (byCookie ? "include" : "omit"),
            keepalive: true,
            signal,
        });
    }

    /**
     * Applies a response to its pings. Returns the minimum seconds to wait if they must be sent again.
     * @param {Ping[]} batch
     * @param {Response} response
     */
    async settle(batch, response) {
        const body = await response.json().catch(() => ({}));
        const {status} = response;
        if (response.ok) {
            /** @type {{index: number, reason: string}[]} */
            const rejected = body.rejected ?? [];
            this.drop(batch.filter((_, i) => rejected.some(({index}) => index === i)), rejected[0]?.reason ?? "");
            this.sent += this.remove(batch);
        } else if (status === 401 || status === 408 || status === 429 || status >= 500) {
            this.problem = String(status);
            /** @type {{retryDelay?: string}[]} */
            const details = body.details ?? [];
            const asked = [response.headers.get("retry-after"), ...details.map(({retryDelay}) => retryDelay)];
            return Math.max(...asked.map((text) => parseFloat(text ?? "") || 0));
        } else {
            this.drop(batch, body.message ?? String(status));
        }
        return null;
    }

    /**
     * Sends pending pings. Returns when none is left, or when they must be retried later.
     * @param {boolean} [now] even if a retry is scheduled for later
     */
    send(now) {
        if (this.timer && !now) return Promise.resolve();
        clearTimeout(this.timer);
        this.timer = undefined;
        this.sending ??= this.sendAll().finally(() => (this.sending = null));
        return this.sending;
    }

    async sendAll() {
        for (let batch; (batch = this.batch()).length; this.tell()) {
            const wait = await this.attempt(batch);
            if (wait === null) {
                this.failures = 0;
                continue;
            }
            const longest = Math.min(60, (this.options.pingSeconds ?? 5) * 2 ** this.failures++);
            const seconds = Math.max(wait, longest * (0.5 + Math.random() / 2));
            this.timer = setTimeout(() => this.send(true), seconds * 1000);
            break;
        }
        this.tell();
    }

    /** @param {Ping[]} batch */
    async attempt(batch) {
        try {
            if (!this.token) await this.renew();
            let response = await this.post(batch, AbortSignal.timeout(15000));
            if (response.status === 401) {
                await this.renew();
                response = await this.post(batch, AbortSignal.timeout(15000));
            }
            return await this.settle(batch, response);
        } catch (error) {
            this.problem = String(error);
            return 0;
        }
    }

    /** The page may end: sends pending and in-flight pings, with the current token. */
    part() {
        const newest = this.pings.at(-1)?.id;
        if (!this.token || !newest || newest === this.parted) return;
        this.parted = newest;
        const batch = this.batch();
        this.tell();
        this.post(batch).then(async (response) => {
            await this.settle(batch, response);
            this.tell();
        }, () => (this.parted = "")); // the rest is sent by the next page, or by this one if it continues
    }
}

/**
 * Tracks what is watched on an element. If it is already tracked, returns its tracker.
 * @param {HTMLMediaElement} video
 * @param {Options} options
 * @returns {Tracker}
 */
export function track(video, options) {
    const known = trackers.get(video);
    if (known) return known;

    const {endpoint, courseId, pingSeconds = 5, onState} = options;
    const meter = new Meter(video);
    const outbox = outboxes.get(endpoint) ?? new Outbox(options);
    outboxes.set(endpoint, outbox);
    outbox.options = options;
    if (onState) outbox.listeners.add(onState);
    let {lectureId} = options;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    let timer;

    /** One per lecture and tab, until there have been no pings for a long time. */
    function playbackId() {
        const name = `${courseId}/${lectureId}`;
        const last = kept(name);
        const id = last && age(last.at) < PLAYBACK_SECONDS ? last.id : randomId();
        kept(name, {id, at: clocks()});
        return id;
    }

    /** @param {boolean} [last] whether nothing may follow */
    function cut(last = false) {
        const watched = meter.take(last);
        if (watched) outbox.add({courseId, lectureId, playbackId: playbackId(), ...watched});
        return watched;
    }

    /** @param {Event} [event] */
    function look(event) {
        meter.look(video.seeking || event?.type === "seeking");
        if (event?.type === "emptied") cut(true); // another source may have another duration
        if (meter.seconds > 60) cut();
        if (meter.ranges.length > 15 && !cut()) meter.ranges.shift();
        if (meter.last) wake();
    }

    function tick() {
        look();
        cut(!meter.last);
        outbox.send();
        if (!meter.last && !outbox.pings.length) rest();
    }

    function leave() {
        look();
        cut(true);
        outbox.part();
    }

    function hideOrShow() {
        if (document.visibilityState === "hidden") leave();
        else look();
    }

    function comeBack() {
        meter.last = null; // the time in between does not count
        look();
        outbox.send(true);
    }

    /** @type {[EventTarget, string, EventListener][]} */
    const ofPage = [
        [document, "visibilitychange", hideOrShow],
        [window, "pagehide", leave],
        [window, "pageshow", comeBack],
        [window, "online", () => outbox.send(true)],
    ];

    /** While it plays, and until all is reported; after that an element keeps nothing of the page alive. */
    function wake() {
        if (timer) return;
        timer = setInterval(tick, pingSeconds * 1000);
        for (const [target, name, listener] of ofPage) target.addEventListener(name, listener);
        if (!outbox.token) outbox.renew().catch(() => {}); // so that there is one when the page ends
    }

    function rest() {
        clearInterval(timer);
        timer = undefined;
        for (const [target, name, listener] of ofPage) target.removeEventListener(name, listener);
    }

    /** @type {Tracker} */
    const tracker = {
        lecture(other) {
            if (other === lectureId) return;
            look();
            cut(true);
            Object.assign(meter, new Meter(video));
            lectureId = other;
            look();
        },
        flush() {
            look();
            cut(true);
            return outbox.send(true);
        },
        stop() {
            tracker.flush();
            rest();
            for (const name of EVENTS) video.removeEventListener(name, look);
            trackers.delete(video);
            if (onState) outbox.listeners.delete(onState);
        },
    };
    for (const name of EVENTS) video.addEventListener(name, look);
    trackers.set(video, tracker);
    look();
    outbox.send();
    return tracker;
}
