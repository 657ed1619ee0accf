/* A panel: one idea, a figure, and what can be taken away from it. It computes only while it can be
 * seen, and once the stroke is finished. */

import {button, byId, h} from "./dom.js";
import {saveCsv, savePng} from "./save.js";

const SETTLE_MS = 120, FOLLOW_MS = 80;

export class Panel {
    /* update(live): asks and draws; called when the panel is visible and something has changed.
     * live: during a stroke, and again at its end.
     * csv(): rows of the table that the panel shows. */
    constructor(id, {idea, update, csv}) {
        this.id = id;
        this.section = byId(id);
        this.body = this.section.querySelector(".panel-body");
        this.absent = this.section.querySelector(".absent");
        this.update = update;
        this.dirty = false;
        this.visible = false;
        this.timer = 0;
        this.last = 0;
        this.setIdea(idea);
        const title = this.section.querySelector("h2").textContent;
        this.saves = h("div", {class: "saves"},
            button("PNG", () => savePng(this.section, `capscl-${id}`),
                {class: "small", "aria-label": `Save as PNG: ${title}`}),
            csv &&
                button("CSV", () => saveCsv(csv(), `capscl-${id}`),
                    {class: "small", "aria-label": `Save as CSV: ${title}`}));
        /* The answer is too narrow for a title and buttons side by side. */
        (id === "answer" ? this.section : this.section.querySelector(".panel-head"))
            .append(this.saves);
        new IntersectionObserver(([entry]) => {
            this.visible = entry.isIntersecting;
            this.run();
        }, {rootMargin: "150px"}).observe(this.section);
    }

    setIdea(text) {
        const line = this.section.querySelector(".idea");
        if (line)
            line.replaceChildren(...[text || ""].flat(2));
    }

    /* Text: why there is nothing to see here. Null: there is. */
    setAbsent(text) {
        this.absent.hidden = !text;
        this.absent.textContent = text || "";
        this.body.hidden = Boolean(text);
        this.saves.hidden = Boolean(text);
    }

    /* Something that the panel shows has changed. `live`: and goes on changing. */
    need(live = false) {
        this.dirty = true;
        clearTimeout(this.timer);
        if (!live)
            this.timer = setTimeout(() => this.run(), SETTLE_MS);
    }

    /* For panels that follow a stroke: at once, but not for every point of it. */
    needNow() {
        this.dirty = true;
        clearTimeout(this.timer);
        const wait = this.last + FOLLOW_MS - performance.now();
        if (wait <= 0)
            this.run(true);
        else
            this.timer = setTimeout(() => this.run(true), wait);
    }

    /* During a stroke a panel of which only an edge can be seen waits for its end. */
    isLookedAt() {
        const {top, bottom} = this.section.getBoundingClientRect();
        return top < 0.7 * innerHeight && bottom > 0.3 * innerHeight;
    }

    run(live = false) {
        if (!this.dirty || !this.visible || this.body.hidden)
            return;
        if (live && !this.isLookedAt()) {
            this.timer = setTimeout(() => this.run(), SETTLE_MS);
            return;
        }
        this.dirty = false;
        this.last = performance.now();
        clearTimeout(this.timer);
        this.update(live);
    }
}
