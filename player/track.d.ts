/**
 * Reports to the analytics service how many seconds of a video are watched, and which parts.
 *
 * A meter measures the video; one outbox per page sends the results. `track` ties them to the page's life cycle.
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
     * returns the viewer's JWT; called again when it was rejected.
     * Without it the JWT is in a cookie of the site
     */
    token?: () => string | Promise<string>;
    /**
     * the interval between reports; 5 by default
     */
    pingSeconds?: number;
    /**
     * of the requests; "omit" by default, without `token` "include"
     */
    credentials?: RequestCredentials;
    /**
     * is called at every change
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
     * pings that are lost: rejected, too many, or too old to be retried safely
     */
    dropped: number;
    /**
     * why the last ones were not acknowledged or dropped; empty when all is well
     */
    problem: string;
};
export type Tracker = {
    /**
     * continues with another lecture on the same element
     */
    lecture: (lectureId: string) => void;
    /**
     * sends pending pings; returns when they are acknowledged or cannot be sent now
     */
    flush: () => Promise<void>;
    /**
     * sends pending pings, and stops tracking the element
     */
    stop: () => void;
};
export type Ping = {
    /**
     * the event, as the API expects it
     */
    telemetry: object;
    /**
     * its eventId
     */
    id: string;
    /**
     * when it was first sent, by two clocks
     */
    tried?: number[];
};
/**
 * Tracks what is watched on an element. If it is already tracked, returns its tracker.
 * @param {HTMLMediaElement} video
 * @param {Options} options
 * @returns {Tracker}
 */
export declare function track(video: HTMLMediaElement, options: Options): Tracker;
