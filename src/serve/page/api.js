/* The program's HTTP interface, and how requests are kept few and answers in order. */

import {complain} from "./dom.js";

async function answer(response) {
    let body;
    try {
        body = await response.json();
    } catch {
        throw new Error(`the program's answer is no JSON (HTTP ${response.status})`);
    }
    if (!response.ok)
        throw Object.assign(
            new Error(body.error || `HTTP ${response.status}`), {status: response.status});
    return body;
}

export async function get(path) {
    return answer(await fetch(path));
}

/* Names this page to the program, which then drops a stroke that waits when a newer one comes. */
const page = Math.random().toString(36).slice(2, 10);
let purposes = 0;

export async function post(path, body) {
    return answer(await fetch(path, {
        method: "POST",
        headers: {"Content-Type": "application/json"},
        body: JSON.stringify(body),
    }));
}

/* What a failed request means to somebody who looks at the page. A stroke that the program has
 * dropped for a newer one (409) is no trouble. */
function explain(error) {
    if (error.status === 409)
        return;
    complain(error instanceof TypeError
            ? "The program does not answer. Is capscl serve still running?"
            : `The program could not do that: ${error.message}.`);
}

/* A function that asks and shows, for something that changes quickly. While one request is under
 * way only the newest of the next ones is kept, so that a stroke never queues. Every request has a
 * number: an answer is shown unless one with a higher number has been, or `forget` was called.
 * ask(argument, order): `order` goes into the request. */
export function latest(ask, show) {
    let sequence = 0, shown = 0, busy = false, waiting = null;
    const stream = `${page}-${++purposes}`;
    async function run(argument, number) {
        busy = true;
        try {
            const result = await ask(argument, {stream, sequence: number});
            if (number > shown) {
                shown = number;
                complain("");
                show(result, argument);
            }
        } catch (error) {
            explain(error);
        }
        busy = false;
        if (waiting) {
            const next = waiting;
            waiting = null;
            run(next.argument, next.number);
        }
    }
    const request = (argument) => {
        const number = ++sequence;
        if (busy)
            waiting = {argument, number};
        else
            run(argument, number);
    };
    request.forget = () => {
        shown = sequence;
        waiting = null;
    };
    return request;
}

/* One request whose failure is told; null then. */
export async function attempt(promise) {
    try {
        const result = await promise;
        complain("");
        return result;
    } catch (error) {
        explain(error);
        return null;
    }
}
