import { byId, text } from "./dom.js";

let answer = () => {}; // to the question that was put last

// ask puts a question and resolves to whether the answer is yes. The browser keeps
// the focus within, and gives it back.
export function ask(title, explanation, yes) {
  answer(false); // a question that was left, and whose close event is still to come
  const dialog = byId("ask");
  text(byId("ask-title"), title);
  text(byId("ask-text"), explanation);
  text(byId("ask-yes"), yes);
  dialog.returnValue = "no";
  dialog.onclose = () => {
    if (!dialog.open) answer(dialog.returnValue === "yes"); // else it tells of an earlier question
  };
  dialog.showModal();
  return new Promise((resolve) => { answer = resolve; });
}
