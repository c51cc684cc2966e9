// Shows a new drawing each second, as long as the tab is in front.

const INTERVAL_MS = 1000;
const main = document.querySelector("main");
const state = document.querySelector("#state");

async function renew() {
  if (document.hidden) return;
  try {
    const answer = await fetch(`/room/drawing${location.search}`, { cache: "no-store" });
    if (!answer.ok) throw new Error(await answer.text());
    // names in it are escaped by the host
    main.innerHTML = await answer.text();
    state.textContent = "";
  } catch (error) {
    state.textContent = `The host doesn't answer: ${error.message}`;
  }
}

renew();
setInterval(renew, INTERVAL_MS);
