// All texts of the page in English.

import type { Mode, Way } from "./app.js";
import { megabits } from "./megabits.js";
import type { Reason } from "./refused.js";
import type { EmptyStage } from "./ui/empty-stage.js";

// said for several reasons
const noLink = "This is no link to a room. Ask the host for the whole link, with everything behind the #.";
const otherVersion = "The page and the room are of different versions. Loading the page anew mostly helps.";
const notOpen = "The room is not open: its host has not started it yet, or has ended it.";
const unreachable = "The server that introduces newcomers can't be reached. Check your connection and try again.";
const garbled = "The server and this page don't understand each other. Loading the page anew mostly helps.";

export const en = {
  title: "plenary",
  tagline: "A video room without a server in the middle.",

  // entrance and the form for a new room
  enterTitle: "Join the room",
  name: "Your name",
  nameHint: "Shown to the others",
  link: "Link to the room",
  linkHint: "https://…/#…",
  password: "Password of the room",
  join: "Join with camera and mic",
  joinNow: "Join now",
  watch: "Just watch",
  openTitle: "Open a room",
  openLead: "You become its host and invite the others by a link.",
  goOnTitle: "Go on with your room",
  goOnLead: "You have opened a room in this tab. The others may still be in it.",
  goOn: "Go on as host",
  openInstead: "Open a new room",
  linkInstead: "I have a link",
  roomTitle: "Title of the room",
  roomPassword: "Password (optional)",
  lobbyWanted: "Newcomers wait until I let them in",
  stageWanted: "Who may speak",
  stageAll: "Everybody",
  stageAsked: "People that I let on stage",
  open: "Open the room",
  back: "Back",
  cancel: "Cancel",
  close: "Close",

  // devices
  prejoinTitle: "Ready to join?",
  stageTitle: "Go on stage",
  stageNow: "Go on stage",
  stageLead: "The others see and hear you once you are on stage.",
  settings: "Settings",
  camera: "Camera",
  microphone: "Microphone",
  loudspeaker: "Loudspeaker",
  ownDefault: "Default of the system",
  noneFound: "None found",
  level: "Level of the microphone",
  testTone: "Play a test tone",
  cleaning: "Sound of the microphone",
  echo: "Remove echoes",
  noise: "Remove noise",
  gain: "Even out loudness",
  cameraIsOff: "The camera is off",
  ownPicture: "Your own picture",

  // the bar; a label and what it does with its key
  mute: "Mute",
  unmute: "Unmute",
  cameraOff: "Camera off",
  cameraOn: "Camera on",
  share: "Share",
  unshare: "Stop share",
  raiseHand: "Raise hand",
  lowerHand: "Lower hand",
  takeFloor: "Speak",
  giveFloor: "Just watch",
  leave: "Leave",
  people: "People",
  chat: "Chat",
  connection: "Connection",
  host: "Host",
  more: "More",
  film: "Play a video file for all",
  smallWindow: "Small window",
  fullScreen: "Full screen",
  endFullScreen: "End full screen",
  shortcuts: "Keyboard shortcuts",
  invite: "Invite",
  controls: "Controls of the room",
  soundOff: "The browser plays sound only after a click.",
  sound: "Turn the sound on",

  // states of the room
  joining: "Joining…",
  retrying: "The server that introduces newcomers can't be reached. Trying again…",
  opening: "Opening the room…",
  lobbyTitle: "Please wait",
  lobby: "The host will let you in soon.",
  reconnecting: "The connection was lost. Looking for another way in…",
  hostSilent: (name: string) =>
    `Nothing comes from ${name}, the host, and nobody else is on stage to go on. The room is back once the host is.`,
  /** Why there is no picture. */
  empty: {
    "nobody-here": "Nobody else is here yet.",
    "nobody-speaks": "Nobody speaks yet.",
    "nobody-else-speaks": "Nobody else speaks yet.",
    "speakers-apart":
      "The speakers see each other directly. To see them, speak yourself, or have somebody start “plenary mixer” with the link.",
    "mesh-full":
      "At most four people speak without a mixer, and four do. They and you don't see each other until somebody starts “plenary mixer” with the link.",
  } satisfies Record<EmptyStage, string> as Record<EmptyStage, string>,
  noMixer: "Nobody here mixes at the moment. The picture comes once somebody starts “plenary mixer” with the link.",
  noRendezvous: "The server that introduces newcomers is away. The room goes on.",
  /** Why the server that introduces newcomers takes no further attempt of this page, which is in its room. */
  rejected: {
    "other-version":
      "This page is older than the room's server. Load it anew: after a lost connection it could not come back.",
    "bad-proof":
      "The server that introduces newcomers doesn't know this page any more. Load it anew: after a lost connection it could not come back.",
  } as Partial<Record<Reason, string>>,
  waitingFloor: "Your hand is up. The host can give you the floor.",
  networkChanged: "Your network has changed. Going on over the new one.",
  floorOffered: "The host invites you on stage.",
  floorGiven: "You have the floor.",
  floorTaken: "The host has moved you to the audience.",
  floorDenied: "The host has not given you the floor this time.",
  mutedByHost: "The host has muted you.",
  pictureOffByHost: "The host has switched your camera off.",
  hostIsMe: "You are the host now.",
  hostIs: (name: string) => `${name} is the host now.`,
  soloRefused: (name: string) => `${name} can't be pinned: you see the whole room.`,
  soloAway: (name: string) => `The picture of ${name} is away. You see the whole room until it comes back.`,
  knocks: (name: string, mixes: boolean, others: number) =>
    `${name} ${mixes ? "offers to mix, and waits" : "waits"} to be let in.${andMore(others)}`,
  wantsFloor: (name: string, others: number) => `${name} asks for the floor.${andMore(others)}`,
  removedByAnother: (name: string, by: string) =>
    `While you were away ${by} removed ${name}, who may come back unless you keep them out.`,
  cameOnStage: (names: string) => `${names}: now on stage.`,
  leftStage: (names: string) => `${names}: no longer on stage.`,
  said: (name: string, text: string) => `${name}: ${text}`,

  // people
  onStage: "On stage",
  waiting: "Waiting to come in",
  hands: "Raised hands",
  watchers: (count: number) => (count === 1 ? "1 person watches" : `${count} people watch`),
  you: "you",
  isHost: "host",
  isNamed: "named",
  isNamedHint: "The host has named this peer: it votes, and may mix",
  offersToMix: "offers to mix",
  removedTitle: "Removed while you were away",
  removedBy: (name: string) => `by ${name}`,
  keepOut: (name: string) => `Keep ${name} out`,
  letBack: (name: string) => `${name} may come back`,
  speaking: "speaking",
  onlyMixes: "helps, doesn't speak",
  soundMuted: "muted",
  pictureMuted: "no picture",
  sharing: "shares a screen",
  away: "connection lost",
  pin: (name: string) => `Show only ${name}`,
  pinned: (name: string) => `You see ${name} alone.`,
  pinnedLeft: (name: string) => `${name} is no longer on stage. You see the whole room.`,
  unpin: "Show the whole room again",
  admit: (name: string) => `Let ${name} in`,
  admitAll: "Let all in",
  deny: (name: string) => `Turn ${name} away`,
  promote: (name: string) => `Give ${name} the floor`,
  denyFloor: (name: string) => `Not now, ${name}`,
  muteAll: "Ask everybody to mute",
  askToMute: (name: string) => `Ask ${name} to mute`,
  moreAbout: (name: string) => `More for ${name}`,
  demote: "Move to the audience",
  handOver: "Make host",
  remove: (name: string) => `Remove ${name}`,
  removeSure: (name: string) => `Remove ${name} from the room? Replace the link as well if they must not come back.`,
  removeNow: "Remove",
  handOverSure: (name: string) => `Make ${name} the host? You stay in the room without the host's tools.`,

  // chat
  chatEmpty: "No messages yet. Messages are not kept: newcomers don't see older ones.",
  chatField: "Message to all",
  chatCommands:
    "/speak, /watch. For hosts, with a name: /admit, /deny, /promote, /demote, /mute, /remove, /ban, /hand-over. " +
    "And: /mute-all, /lock, /unlock, /lobby on, /stage open, /mixing anyone, /layout grid, /mixers 2, /invite, /end.",
  chatSend: "Send",
  chatStage: "People on stage can write. Raise your hand to come on stage.",

  // the host's tools
  hostTools: "Host tools",
  locked: "Lock the room",
  lockedHint: "Nobody new comes in",
  lobbyOn: "Waiting room",
  lobbyHint: "You let newcomers in one by one",
  stageOpen: "Open stage",
  stageHint: "Everybody may speak without asking",
  mixByNamed: "Only named people mix",
  mixByNamedHint: "Whoever mixes sees and hears all speakers: you, and those you have given the floor or let in for it",
  removeUnnamed: "Remove all guests that only mix",
  removeUnnamedSure:
    "Remove everybody who is on stage only to mix, and whom you have not named? Replace the link as well if they must not come back.",
  layout: "Layout",
  layouts: {
    grid: "All the same size",
    active: "Speaker large",
    share: "Shared screen large",
    "side-by-side": "Side by side",
    custom: "Own layout",
  },
  mixers: "Mixers",
  mixersAuto: "As many as needed",
  takeBack: "Become host again",
  end: "End the room for all",
  endSure: "End the room for everybody? All people are disconnected.",
  endNow: "End the room",
  leaveTitle: "Leave the room?",
  leaveSure: "You are the host. If you leave, the room goes on and somebody else becomes its host.",
  leaveNow: "Leave",
  followSure: "Leave this room and go to the one of the new link?",
  followNow: "Go there",
  inviteTitle: "Invite people",
  inviteLead: "Everybody with this link can come in.",
  inviteLink: "Link to this room",
  copy: "Copy the link",
  copied: "Copied",
  copyYourself: (link: string) => `The browser doesn't let the page copy. Copy the link yourself: ${link}`,
  send: "Send it by another app",
  qr: "The link as a QR code",
  renew: "Replace the link",
  renewHint: "The old link lets nobody in any more.",

  // connection
  good: "Good connection",
  weak: "Weak connection",
  lost: "No connection",
  whyGood: "Pictures and sound arrive in time.",
  pictureComes: "The picture is on its way…",
  whyParent: "No peer feeds this page at the moment.",
  whyMixer: "Nobody mixes the picture at the moment.",
  whyLoss: (percent: number) => `${percent} % of the pictures went missing in the last seconds.`,
  whyLate: (lateMs: number) => `Pictures come ${(lateMs / 1000).toFixed(1)} s late.`,
  yourWay: "Your way to the room",
  /** Before the names of those who mix, at the picture's edge. */
  mixedBy: "Mixed by",
  fedBy: "Fed by",
  backup: "In reserve",
  feeds: "You feed",
  feedsCount: (count: number) => (count === 1 ? "1 peer" : `${count} peers`),
  path: "Way of the program",
  depth: "Steps from the mixer",
  changes: "Changes of the way",
  counts: "What arrives",
  pictures: "Pictures",
  picturesOf: (received: number, expected: number) => `${received} of ${expected}`,
  latency: "Delay, mostly / at worst",
  late: "Behind the room",
  gap: "Longest pause",
  uplink: "Line up",
  ratesAbove: "Sent to you by way of",
  ratesAboveOf: (receivedBps: number, sentBps: number, children: number) =>
    `${megabits(receivedBps)} in, ${megabits(sentBps)} out, feeds ${children}`,
  rates: "Down, up",
  ratesOf: (receivedBps: number, sentBps: number) => `${megabits(receivedBps)}, ${megabits(sentBps)}`,
  encoder: "Your picture",
  encoderOf: (bps: number, encodeMs: number | null) =>
    `${megabits(bps)}${encodeMs === null ? "" : `, ${Math.round(encodeMs)} ms to encode`}`,
  links: "Connections",
  ways: { direct: "direct", relayed: "relayed", carried: "carried by a member", websocket: "by the server" } as Record<
    Way,
    string
  >,
  nat: "Router in front of you",
  nats: {
    unknown: "not known yet",
    open: "none",
    "one-port": "lets others reach you",
    "port-each": "lets few others reach you",
  },
  localNetworkAsked:
    "Your browser may ask whether this page may reach your local network. Allowed, it reaches people near you directly.",
  localNetwork: "Your local network",
  localNetworks: {
    granted: "in reach",
    denied: "kept from this page by the browser",
    prompt: "the browser asks",
  } as Record<PermissionState, string>,
  tree: "Who feeds this room's viewers",
  none: "none",
  unknown: "not known yet",
  nobody: "nobody",
  modes: {
    mesh: "Directly between speakers",
    "pass-through": "Passed on, not mixed",
    mixer: "One picture, mixed",
  } as Record<Mode, string>,
  mode: "How",

  // shortcuts
  keys: [
    ["M", "Mute or unmute"],
    ["V", "Camera on or off"],
    ["S", "Share a screen, or stop"],
    ["H", "Raise or lower the hand"],
    ["C", "Chat"],
    ["L", "People"],
    ["P", "Connection"],
    ["F", "Full screen"],
    ["Space", "Hold to talk while muted"],
    ["?", "This list"],
    ["Esc", "Close what is open"],
  ],

  // ends
  again: "Try again",
  reload: "Load the page anew",
  start: "To the start",
  asGuest: "Join as a guest",
  openAnother: "Open another room",
  rejoin: "Come back",
  chooseDevice: "Choose another",
  showPeople: "Show people",
  dismiss: "All right",
  noPlace:
    "This room is full of viewers at the moment. You get the picture once somebody leaves, or helps with a strong machine that runs plenary.",

  // why something doesn't work
  reasons: {
    // the invite
    "not-an-invite": noLink,
    "invite-damaged": noLink,
    "invite-version": otherVersion,
    "invite-expired": "This invite has expired. Ask the host for a new link.",
    "invite-replaced": "The host has replaced this invite. Ask for the new link.",
    "password-needed": "This room has a password. Ask the host for it.",
    "wrong-password": "That was not the password. Try again.",
    "not-a-page": "A page's address looks like https://example.org/room/.",
    "long-rendezvous": "The address of the room's server is too long for a link to this page.",
    "no-rendezvous": "The link names no server by which a browser finds the room. Ask the host for another one.",
    // the host's answer
    "stage-full": "The stage is full. You can watch, and take the floor when somebody has left it.",
    "stage-closed": "The host lets speakers in one by one.",
    locked: "The host has locked the room: nobody new comes in at the moment.",
    "not-let-in": "The host has not let you in.",
    "no-answer": "The host doesn't answer: the room may be over.",
    "room-version": otherVersion,
    // the server that introduces newcomers
    "other-version": otherVersion,
    "bad-proof": "The server doesn't accept this page's proof of identity.",
    "not-open": notOpen,
    "not-yet": notOpen,
    "room-full": "The room is full. Try again when somebody has left.",
    "too-many-rooms": "This server has no place for another room at the moment. Try again later.",
    "other-origin":
      "The room's server lets nobody in from this website. Open a link to the server's own page, or ask its operator to allow this website.",
    "host-present":
      "This room is open elsewhere with the same keys, and has its host there. Go on there, or join here as a guest.",
    late: unreachable,
    slow: unreachable,
    unreachable,
    untrusted: unreachable,
    silent: unreachable,
    slept: unreachable,
    closing: unreachable,
    malformed: garbled,
    "long-frame": garbled,
    "no-protocol": garbled,
    unknown: "The server that introduces newcomers doesn't let this page in.",
    // the clock
    "wrong-clock": "The clock of this device is wrong. The room goes by that of its server.",
    "other-clock": "Somebody's clock is wrong by more than five minutes, and keeps that device out of the room.",
    // ends
    removed: "The host has removed you from the room.",
    ended: "The host has ended the room.",
    replaced: "This room is open in another tab with the same identity. Go on there, or come in again here.",
    left: "You have left the room.",
    lost: "The room has stopped on this device.",
    // the host's powers
    "not-host": "Only the host of the room may do this.",
    itself: "The host can't do this to itself.",
    "off-stage": "Only somebody on stage can do this.",
    stranger: "Nobody of that name is in the room.",
    "too-soon": "The host before may come back. Try again in ten seconds.",
    "nobody-answers": "Nobody of the room has answered since it was opened again.",
    "too-many-agents": "The room has as many agents as it may have.",
    "too-many-mixers": "A room has at most eight mixers.",
    "no-such-command": "There is no such command: /help lists them.",
    "wrong-argument": "The command lacks a name or a word, or has a wrong one: /help lists them.",
    "no-such-peer": "Nobody here is called so.",
    "several-peers": "Several people are called so: type the first digits of the one you mean.",
    "bad-keys": "What this tab has kept of your room can't be read. Open a new one.",
    "bad-rendezvous": "A page opens a room at a server whose address begins with http or https.",
    // what is sent
    "no-speaker": "Only speakers on stage are seen and heard.",
    "second-camera": "Your camera is on already.",
    "second-share": "You share a screen or a film already.",
    "second-sound": "Your microphone is on already.",
    "not-on-stage": "People on stage can write. Raise your hand to come on stage.",
    "long-data": "The text is too long.",
    "not-named": "The stage is closed: only speakers can write.",
    "too-fast": "That was too much at once. Wait a moment.",
    // the browser and the page
    "no-browser":
      "This browser can't join: it needs WebRTC with encoded transforms (Chrome 141, Firefox 128, Safari 17 or later). Open the link in one of them.",
    "not-loaded": otherVersion,
    blocked:
      "This page came by https, and the browser blocks the room's plain http address. Open the room's own link instead.",
    "open-elsewhere": "This room is open in another tab, which is its host. Go on there, or join here as a guest.",
    "no-auto": "This page opens a camera only after a click.",
    "copy-failed": "The browser doesn't let the page copy. Select the link and copy it yourself.",
    // camera and microphone
    insecure: "A browser gives camera and microphone only to pages with https. Here you can just watch.",
    denied:
      "The browser was not allowed to use camera and microphone. Allow them in its address bar and try again, or just watch.",
    "denied-camera": "The browser was not allowed to use the camera: the others hear you, and see no picture of you.",
    "denied-microphone": "The browser was not allowed to use the microphone: the others don't hear you.",
    "no-devices": "No camera and no microphone was found. Plug one in and try again, or just watch.",
    "no-camera": "No camera was found: the others hear you, and see no picture of you.",
    "no-microphone": "No microphone was found: the others don't hear you.",
    busy: "Another program uses the camera or the microphone. Close it there and try again, or just watch.",
    "busy-camera":
      "Another program uses the camera: the others hear you, and see no picture of you. Close it there, and turn the camera on here.",
    "busy-microphone":
      "Another program uses the microphone: the others don't hear you. Close it there, and unmute yourself here.",
    // pictures
    "no-encoder": "This browser can't send H.264: the others hear you, and see no picture of you.",
    "no-pictures":
      "This browser has no H.264: you hear the others and they hear you, without pictures. Another browser has them.",
    "no-screens": "This browser can't share a screen.",
    "no-screen": "The browser can't get at this screen or window. Try again, or choose another one.",
    "no-films": "This browser can't send a video file. Share a window that plays it.",
    "bad-film": "The browser can't play this file. It takes mp4 and webm.",
    "limited-cpu":
      "This device is too slow for the picture that the room asks for. The others see yours smaller, or less smooth.",
    "limited-bandwidth":
      "Your line carries less than the room asks for. The others see your picture smaller, or less smooth.",
  } satisfies Record<Reason, string> as Record<Reason, string>,

  // devices in the room
  noDecoder: "This browser has no H.264: you hear the room, and see no picture. Another browser shows it.",
  lostCamera: "The camera was unplugged. The others don't see you any more.",
  lostMicrophone: "The microphone was unplugged. The others don't hear you any more.",
  lostBoth: "Camera and microphone were unplugged. The others neither see nor hear you.",
};

/** That others have done the same, who are listed. */
const andMore = (others: number) => (others === 0 ? "" : ` ${others} more since the last one.`);
