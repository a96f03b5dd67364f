// Questions to the query API.

/** An answer that is no success; its message says the fix. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The address of a query; values that are absent are left out. */
export function address(query, parameters) {
  const values = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (Array.isArray(value)) value.forEach((one) => values.append(name, one));
    else if (value !== undefined && value !== null && value !== "") values.set(name, value);
  }
  return `/api/${query}?${values}`;
}

/** The parameters of a selection; times become whole milliseconds. The type is that of both sides of a comparison. */
export function selection(found, prefix = "") {
  const parameters = prefix === "" ? { type: found.type } : {};
  for (const name of ["from", "until"]) {
    if (found[name] !== undefined) parameters[prefix + name] = Math.round(found[name]);
  }
  if (found.taken) [parameters[`${prefix}taken_from`], parameters[`${prefix}taken_until`]] = found.taken;
  for (const name of ["service", "pid", "comm", "thread", "window", "label", "trace_id", "span_id"]) parameters[prefix + name] = found[name];
  return parameters;
}

/** What an answer that is no success says: as the queries do, or in plain text, as who keeps others out does. */
function reason(text) {
  try {
    return JSON.parse(text).error;
  } catch {
    return text.trim().slice(0, 1000) || undefined;
  }
}

/** Asks, and stops what was asked before of the same `Asker`: only the last answer is wanted. */
export class Asker {
  #running = null;

  async ask(query, parameters = {}) {
    this.#running?.abort();
    const running = new AbortController();
    this.#running = running;
    try {
      const response = await fetch(address(query, parameters), { signal: running.signal });
      const text = await response.text();
      if (response.ok) return JSON.parse(text);
      throw new Refused(response.status, reason(text) ?? `The answer has status ${response.status}.`);
    } catch (error) {
      if (running.signal.aborted) return null;
      if (error instanceof Refused) throw error;
      throw new Refused(0, "The agent does not answer. Is it running?");
    } finally {
      if (this.#running === running) this.#running = null;
    }
  }
}
