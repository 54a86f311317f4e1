// The register's script, version {{.Version}}.
"use strict";

const appVersion = "{{.Version}}";

async function greet() {
	const answer = await fetch("/api/me");
	const place = document.getElementById("me");
	if (!answer.ok || !place) return;
	const me = await answer.json();
	place.textContent = me.user;
	place.href = "/account";
}

function follow() {
	const place = document.getElementById("live");
	if (!place) return;
	const stream = new EventSource("/events");
	stream.addEventListener("tick", (event) => {
		const tick = JSON.parse(event.data);
		place.textContent = "tick " + event.lastEventId + " from " + tick.version;
		if (tick.version !== appVersion) {
			document.body.classList.add("outdated");
		}
	});
}

document.addEventListener("DOMContentLoaded", () => {
	greet();
	follow();
});
