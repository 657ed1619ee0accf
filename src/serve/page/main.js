/* Puts the page together. */

import {beginRemembering, recall, register, remember} from "./address.js";
import * as answerPanel from "./answer.js";
import {get} from "./api.js";
import * as attackPanel from "./attack.js";
import * as couplings from "./couplings.js";
import * as dimensionsPanel from "./dimensions.js";
import {button, byId, choice, complain, h} from "./dom.js";
import * as equationsPanel from "./equations.js";
import * as motionPanel from "./motion.js";
import * as overlapPanel from "./overlap.js";
import {fromText, isBlank, isDark, repaintAll, setStandardised, toText} from "./pixels.js";
import * as routingPanel from "./routing.js";
import {first, begin as beginSource, takeData} from "./source.js";
import {emit, model, on, setImage, shape, state} from "./store.js";
import {list, thousands} from "./words.js";

const CONTENTS = {
    dimensions: "Numbers",
    routing: "Votes",
    motion: "Turn & shift",
    overlap: "Two at once",
    attack: "Attack",
    equations: "Equations"
};
const TEXT_PIXELS = 1400; /* an image with more does not go into an address */

function describeModel() {
    const {name, architecture, kind, parameters, capsules, input} = model();
    const what = {
        vector: "a capsule network",
        matrix: "a network of matrix capsules",
        cnn: "a plain CNN"
    }[kind];
    const known =
        architecture && !["custom", name].includes(architecture) ? ` (${architecture})` : "";
    const parts = [`${name}${known}, ${what} with ${thousands(parameters)} parameters`];
    if (capsules)
        parts.push(`${capsules.count} class capsules of ${capsules.size} numbers`);
    const channels = input.channels > 1 ? ` × ${input.channels}` : "";
    const origin = state.data ? ` from ${state.data.name}` : "";
    parts.push(`images of ${input.width} × ${input.height}${channels}${origin}`);
    byId("model-line").textContent = `${parts.join("; ")}.`;
    byId("device-line").textContent =
        `Computed by ${state.device}, capscl ${state.version}. Nothing is ` +
        "sent anywhere else.";
    document.title = `${name}: capscl explorer`;
    document.documentElement.style.setProperty("--aspect", `${input.width} / ${input.height}`);
}

function setModel(index) {
    if (index === state.index || !state.models[index])
        return;
    state.index = index;
    state.prediction = state.routing = null;
    describeModel();
    emit("model");
    emit("image", {live: false});
    remember();
}

function themeButton() {
    const name = () => (isDark() ? "Light" : "Dark");
    const toggle = button(name(), () => {
        const theme = isDark() ? "light" : "dark";
        document.documentElement.dataset.theme = theme;
        try {
            localStorage.setItem("capscl-theme", theme);
        } catch {
            /* It lasts until the page is left. */
        }
        changed();
    }, {id: "theme", title: "Light or dark page"});
    const changed = () => {
        toggle.textContent = name();
        toggle.setAttribute("aria-label", `Change to the ${name().toLowerCase()} page`);
        repaintAll();
        emit("theme");
    };
    toggle.setAttribute("aria-label", `Change to the ${name().toLowerCase()} page`);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
    return toggle;
}

function linkButton() {
    const copy = button("Copy link", async () => {
        try {
            await navigator.clipboard.writeText(location.href);
            copy.textContent = "Copied";
        } catch {
            copy.textContent = "It is in the address bar";
        }
        setTimeout(() => {
            copy.textContent = "Copy link";
        }, 2000);
    });
    return copy;
}

/* Panels on the way draw themselves when they are first seen and may move the goal: once more
 * then. */
function goTo(section) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const scroll = () => section.scrollIntoView({behavior: still ? "auto" : "smooth"});
    addEventListener("scrollend", () => setTimeout(scroll, 200), {once: true});
    scroll();
    section.querySelector("h2").focus({preventScroll: true});
}

let modelSelect = null;

function beginTop() {
    const tools = byId("top-tools");
    if (state.models.length > 1) {
        const made = choice("Model", state.models.map((m) => [m.index, m.name]), state.index,
            (v) => setModel(Number(v)));
        modelSelect = made.select;
        modelSelect.id = "model-choice";
        made.element.querySelector("label").htmlFor = "model-choice";
        tools.append(made.element);
    }
    tools.append(linkButton(), themeButton());
    byId("contents")
        .append(...Object.entries(CONTENTS).map(([id, name]) => h("li", {},
                                                    h("a", {
                                                        href: `#${id}`,
                                                        onclick: (event) => {
                                                            event.preventDefault();
                                                            goTo(byId(id));
                                                        }
                                                    },
                                                        name))));
    document.querySelectorAll("main h2").forEach((title) => title.setAttribute("tabindex", "-1"));
}

/* "test:12", "train:5", or "draw:" and the pixels. */
let wanted = null;

function registerImage() {
    register("model", () => (state.index ? state.index : ""), (text) => {
        if (state.models[Number(text)])
            state.index = Number(text);
    });
    register("class", () => (state.chosen === null ? "" : state.chosen), (text) => {
        if (/^\d+$/.test(text) && Number(text) < model().classes.length)
            state.chosen = Number(text);
    });
    register("image",
        () => {
            const {kind, index} = state.source;
            if (kind === "test" || kind === "train")
                return `${kind}:${index}`;
            return state.image && !isBlank(state.image) && state.image.length <= TEXT_PIXELS
                ? `draw:${toText(state.image)}`
                : "";
        },
        (text) => {
            wanted = text;
        });
}

async function openImage() {
    const [kind, rest] = (wanted || "").split(":");
    if (kind === "draw") {
        const image = fromText(rest || "", shape());
        if (image)
            return setImage(image, {kind: "drawn"});
    } else if (["test", "train"].includes(kind) && /^\d+$/.test(rest) && state.data) {
        await takeData(kind, Number(rest));
        if (state.image)
            return undefined;
    }
    return first();
}

async function begin() {
    let answer;
    try {
        answer = await get("/api/model");
    } catch {
        complain("The program does not answer. Is capscl serve still running?");
        return;
    }
    Object.assign(state, {
        models: answer.models || [answer],
        data: answer.data,
        device: answer.device,
        version: answer.version
    });
    if (state.data?.standardised)
        setStandardised();
    registerImage();
    /* The model is needed before the panels; the rest of the address after them. */
    recall();
    describeModel();
    beginTop();
    couplings.begin();
    beginSource();
    for (const panel of [answerPanel, dimensionsPanel, routingPanel, motionPanel, overlapPanel,
             attackPanel, equationsPanel])
        panel.begin();
    recall();
    if (modelSelect)
        modelSelect.value = state.index;
    for (const name of ["image", "class", "model", "place"])
        on(name, () => remember());
    await openImage();
    beginRemembering();
    document.documentElement.dataset.ready = "true";
}

/* What tests and curious people may read. */
window.capsclExplorer = {
    state,
    times: answerPanel.answerTimes,
    list
};

begin();
