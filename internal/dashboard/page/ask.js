import { byId, text } from "./dom.js";

// ask puts a question and resolves to whether the answer is yes. The browser keeps
// the focus within, and gives it back.
export function ask(title, explanation, yes) {
  const dialog = byId("ask");
  text(byId("ask-title"), title);
  text(byId("ask-text"), explanation);
  text(byId("ask-yes"), yes);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
