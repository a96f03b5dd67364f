// How complete the profiles are, in a sentence, and by service what helps where they are not.

import { element } from "./tip.js";
import { count, share } from "./units.js";

// Less than this is not worth a warning.
const FEW = 0.005;

const inModules = ({ modules }) => (modules.length > 0 ? ` (${modules.join(", ")})` : "");

/** The sentence of an answer of /api/verdict. */
export function sentence({ samples, incomplete, services, losses }) {
  const lost = losses.filter((loss) => loss.loses_samples).reduce((sum, loss) => sum + loss.count, 0);
  const missing = lost > 0 ? `; ${count(lost)} samples are missing` : "";
  if (incomplete === 0) return `All stacks are complete${missing}`;
  const worst = services.flatMap((service) => service.reasons.map((reason) => ({ ...reason, service }))).reduce((a, b) => (b.samples > a.samples ? b : a));
  return `${share(incomplete / (samples || 1))} of stacks are incomplete: most ${worst.what}${inModules(worst)}, of ${worst.service.name || "this selection"}${missing}`;
}

/** Shows an answer: the sentence, and below it, where there is more to say, each service with what helps. */
export function showVerdict(box, answer) {
  const opened = box.open;
  box.replaceChildren();
  box.hidden = answer.samples === 0;
  const lost = answer.losses.some((loss) => loss.loses_samples);
  box.classList.toggle("warn", lost || answer.incomplete / (answer.samples || 1) > FEW);
  element("summary", { text: sentence(answer), parent: box });
  const list = element("ul", { parent: box });
  const line = (name, text, fix) => {
    const item = element("li", { parent: list });
    if (name) element("b", { text: `${name}: `, parent: item });
    item.append(text);
    if (fix && !fix.startsWith("nothing")) element("span", { text: ` Fix: ${fix}.`, kind: "fix", parent: item });
  };
  for (const { name, samples, reasons } of answer.services) {
    for (const reason of reasons) line(name, `${share(reason.samples / (samples || 1))} of its stacks ${reason.what}${inModules(reason)}.`, reason.fix);
  }
  for (const loss of answer.losses) line("", `${count(loss.count)} ${loss.unit} ${loss.what}.`, loss.fix);
  if (list.childElementCount === 0) element("li", { text: "Every stack reaches its root, and no sample was lost.", parent: list });
  box.open = opened;
}
