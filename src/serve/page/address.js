/* The state of the page in the address after #, so that it can be kept, sent, and come back to. */

const parts = new Map();
let timer = 0, ready = false;

/* write(): this part as text, "" to leave it out. read(text): takes it up, once, at the start. */
export function register(key, write, read) {
    parts.set(key, {write, read});
}

export function remember() {
    clearTimeout(timer);
    if (ready)
        timer = setTimeout(writeNow, 250);
}

function writeNow() {
    const now = new URLSearchParams();
    parts.forEach(({write}, key) => {
        const text = write();
        if (text !== "" && text !== null && text !== undefined)
            now.set(key, text);
    });
    const text = now.toString().replace(/%3A/g, ":").replace(/%2C/g, ",");
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
}

/* From the address of the page. A part that is not what it should be is left as it was. */
export function recall() {
    const then = new URLSearchParams(location.hash.slice(1));
    for (const [key, text] of then)
        parts.get(key)?.read(text);
}

export function beginRemembering() {
    ready = true;
}
