/* The square to draw on: mouse, finger, pen, and keys. It knows one image and tells of changes. */

import {h} from "./dom.js";
import {blank, fit, ink, paint} from "./pixels.js";

const UNDO = 40;

export class Pad {
    /* changed(image, live): live during a stroke. */
    constructor(changed) {
        this.changed = changed;
        this.canvas = h("canvas", {
            class: "pad",
            tabindex: "0",
            role: "img",
            "aria-label": "Drawing",
            "aria-describedby": "pad-keys",
        });
        this.cursor = h("div", {class: "pad-cursor", hidden: true});
        this.element = h("div", {class: "pad-frame"}, this.canvas, this.cursor);
        this.radius = 1;
        this.erasing = false;
        this.history = [];
        this.at = null;  // where the pen is on the paper, while a stroke lasts
        this.keys = {x: 0, y: 0, down: false};
        this.listen();
    }

    setShape(shape) {
        this.shape = shape;
        this.image = blank(shape);
        this.history = [];
        this.keys = {x: Math.floor(shape.width / 2), y: Math.floor(shape.height / 2), down: false};
        paint(this.canvas, this.image, shape);
    }

    show(image, text) {
        this.image = image;
        this.canvas.setAttribute("aria-label", text);
        paint(this.canvas, image, this.shape);
    }

    listen() {
        const {canvas} = this;
        canvas.addEventListener("pointerdown", (event) => this.begin(event));
        canvas.addEventListener("pointermove", (event) => this.move(event));
        for (const name of ["pointerup", "pointercancel", "lostpointercapture"])
            canvas.addEventListener(name, () => this.end());
        canvas.addEventListener("keydown", (event) => this.key(event));
        canvas.addEventListener("focus", () => this.showCursor());
        canvas.addEventListener("blur", () => {
            this.keys.down = false;
            this.cursor.hidden = true;
        });
    }

    point(event) {
        const box = this.canvas.getBoundingClientRect();
        return [
            ((event.clientX - box.left) / box.width) * this.shape.width - 0.5,
            ((event.clientY - box.top) / box.height) * this.shape.height - 0.5
        ];
    }

    begin(event) {
        if (event.button !== 0 || this.at)
            return;
        event.preventDefault();
        this.canvas.focus({preventScroll: true});
        this.cursor.hidden = true;
        this.canvas.setPointerCapture(event.pointerId);
        this.pointer = event.pointerId;
        this.remember();
        this.at = this.point(event);
        this.stroke(this.at);
    }

    move(event) {
        if (!this.at || event.pointerId !== this.pointer)
            return;
        const between = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
        for (const e of between.length ? between : [event])
            this.line(this.point(e));
        this.tell(true);
    }

    end() {
        if (!this.at)
            return;
        this.at = null;
        this.tell(false);
    }

    remember() {
        this.image = Float64Array.from(this.image);
        this.history.push(Float64Array.from(this.image));
        if (this.history.length > UNDO)
            this.history.shift();
    }

    stroke(to) {
        this.line(to);
        this.tell(true);
    }

    tell(live) {
        paint(this.canvas, this.image, this.shape);
        this.changed(this.image, live);
    }

    /* Ink along the line from the last point: full within the radius, fading over one pixel. */
    line(to) {
        const {channels, height, width} = this.shape, [ax, ay] = this.at, [bx, by] = to;
        const dx = bx - ax, dy = by - ay, length2 = dx * dx + dy * dy, reach = this.radius + 1;
        const x0 = Math.max(0, Math.floor(Math.min(ax, bx) - reach));
        const x1 = Math.min(width - 1, Math.ceil(Math.max(ax, bx) + reach));
        const y0 = Math.max(0, Math.floor(Math.min(ay, by) - reach));
        const y1 = Math.min(height - 1, Math.ceil(Math.max(ay, by) + reach));
        for (let y = y0; y <= y1; y++)
            for (let x = x0; x <= x1; x++) {
                const t = length2
                    ? Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / length2))
                    : 0;
                const far = Math.hypot(x - ax - t * dx, y - ay - t * dy);
                const share = Math.min(1, Math.max(0, this.radius + 0.5 - far));
                for (let c = 0; c < channels; c++) {
                    const p = (c * height + y) * width + x;
                    this.image[p] = this.erasing ? Math.min(this.image[p], ink(1 - share))
                                                 : Math.max(this.image[p], ink(share));
                }
            }
        this.at = to;
    }

    undo() {
        const before = this.history.pop();
        if (!before)
            return;
        this.image = before;
        this.tell(false);
    }

    clear() {
        this.remember();
        this.image = blank(this.shape);
        this.tell(false);
    }

    centre() {
        this.remember();
        this.image = fit(this.image, this.shape);
        this.tell(false);
    }

    /* Arrow keys move a cursor, Space puts the pen down and lifts it. */
    key(event) {
        if (event.ctrlKey || event.metaKey || event.altKey)
            return;
        const arrows =
            {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
        if (arrows[event.key])
            this.keyMove(arrows[event.key]);
        else if (event.key === " " || event.key === "Enter")
            this.keyPen();
        else if (event.key === "z")
            this.undo();
        else if (event.key === "Delete" || event.key === "Backspace")
            this.clear();
        else
            return;
        event.preventDefault();
    }

    keyPen() {
        this.keys.down = !this.keys.down;
        this.showCursor();
        if (!this.keys.down)
            return this.tell(false);
        this.remember();
        this.at = [this.keys.x, this.keys.y];
        this.stroke(this.at);
        this.at = null;
    }

    keyMove([dx, dy]) {
        const from = [this.keys.x, this.keys.y];
        this.keys.x = Math.min(this.shape.width - 1, Math.max(0, this.keys.x + dx));
        this.keys.y = Math.min(this.shape.height - 1, Math.max(0, this.keys.y + dy));
        this.showCursor();
        if (!this.keys.down)
            return;
        this.at = from;
        this.stroke([this.keys.x, this.keys.y]);
        this.at = null;
    }

    /* Only where the focus came from the keyboard. */
    showCursor() {
        this.cursor.hidden = !this.canvas.matches(":focus-visible");
        this.cursor.classList.toggle("down", this.keys.down);
        this.cursor.style.left = `${((this.keys.x + 0.5) / this.shape.width) * 100}%`;
        this.cursor.style.top = `${((this.keys.y + 0.5) / this.shape.height) * 100}%`;
    }
}
