/**
 * Tells the analytics service what is watched of a video: how many seconds, and which parts.
 *
 * A meter looks at the video, an outbox a page sends what it found. `track` ties them to the life of the page.
 */
export type Options = {
    /**
     * where the API is: `https://analytics.example/api/v1/analytics`
     */
    endpoint: string;
    /**
     * 24 hexadecimal digits
     */
    courseId: string;
    /**
     * 24 hexadecimal digits
     */
    lectureId: string;
    /**
     * gives the viewer's JWT; asked again when it was refused. Without it
     * the JWT is in a cookie of the site
     */
    token?: () => string | Promise<string>;
    /**
     * how often is told what was watched; 5 by default
     */
    pingSeconds?: number;
    /**
     * of the requests; "omit" by default, without `token` "include"
     */
    credentials?: RequestCredentials;
    /**
     * hears of every change
     */
    onState?: (state: State) => void;
};
export type State = {
    /**
     * pings that are not acknowledged yet
     */
    waiting: number;
    /**
     * pings that were acknowledged
     */
    sent: number;
    /**
     * pings that are lost: refused, too many, or too old to be repeated safely
     */
    dropped: number;
    /**
     * why the last ones were not acknowledged or dropped; empty when all is well
     */
    problem: string;
};
export type Tracker = {
    /**
     * goes on with another lecture on the same element
     */
    lecture: (lectureId: string) => void;
    /**
     * sends what there is; returns when it is acknowledged or cannot be now
     */
    flush: () => Promise<void>;
    /**
     * sends what there is, and leaves the element alone
     */
    stop: () => void;
};
export type Ping = {
    /**
     * the event, as the API wants it
     */
    telemetry: object;
    /**
     * its eventId
     */
    id: string;
    /**
     * when it was tried first, by two clocks
     */
    tried?: number[];
};
/**
 * Tracks what is watched on an element. On one that is tracked already: returns its tracker.
 * @param {HTMLMediaElement} video
 * @param {Options} options
 * @returns {Tracker}
 */
export declare function track(video: HTMLMediaElement, options: Options): Tracker;
