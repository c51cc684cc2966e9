// All texts of the page, in one place.

export const texts = {
  title: "plenary",
  name: "Your name",
  link: "Link to the room",
  password: "Password of the room",
  watch: "Watch",
  joining: "Joining…",
  reconnecting: "The connection was lost. Looking for another way in…",
  sound: "Turn the sound on",
  leave: "Leave",
  again: "Try again",
  left: "You have left the room.",
  removed: "The host has removed you from the room.",
  ended: "The host has ended the room.",
  lobby: "The host will let you in soon. Please wait.",
  noMixer: "Nobody here mixes at the moment: the picture comes once somebody does.",
  noBrowser: "This browser can't join: it needs WebRTC with encoded transforms (Chrome 141, Firefox 128, Safari 17 or later).",
  noLink: "This is no link to a room. Ask the host for the whole link, with everything behind the #.",
};
