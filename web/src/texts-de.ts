// All texts of the page in German.

import { megabits } from "./megabits.js";
import type { Texts } from "./texts.js";

// said for several reasons
const noLink = "Das ist kein Link zu einem Raum. Der Gastgeber hat den ganzen Link, mit allem hinter dem #.";
const otherVersion = "Seite und Raum haben verschiedene Versionen. Meistens hilft es, die Seite neu zu laden.";
const notOpen = "Der Raum ist nicht offen: Der Gastgeber hat ihn noch nicht eröffnet oder schon beendet.";
const unreachable =
  "Der Server, der neue Gäste vermittelt, ist nicht erreichbar. Bitte die Verbindung prüfen und es noch einmal versuchen.";
const garbled = "Server und Seite verstehen einander nicht. Meistens hilft es, die Seite neu zu laden.";

/** Number with a comma, as German writes it. */
const decimal = (text: string) => text.replace(".", ",");
const rate = (bps: number) => decimal(megabits(bps));

export const de: Texts = {
  title: "plenary",
  tagline: "Ein Videoraum ohne Server in der Mitte.",

  // entrance and the form for a new room
  enterTitle: "In den Raum gehen",
  name: "Dein Name",
  nameHint: "Die anderen sehen ihn",
  link: "Link zum Raum",
  linkHint: "https://…/#…",
  password: "Passwort des Raums",
  join: "Mit Kamera und Mikrofon teilnehmen",
  joinNow: "Jetzt teilnehmen",
  watch: "Nur zuschauen",
  openTitle: "Raum eröffnen",
  openLead: "Du wirst Gastgeber und lädst die anderen mit einem Link ein.",
  goOnTitle: "Weiter in deinem Raum",
  goOnLead: "Du hast in diesem Tab einen Raum eröffnet. Vielleicht sind die anderen noch da.",
  goOn: "Als Gastgeber weitermachen",
  openInstead: "Neuen Raum eröffnen",
  linkInstead: "Ich habe einen Link",
  roomTitle: "Titel des Raums",
  roomPassword: "Passwort (freiwillig)",
  lobbyWanted: "Neue Gäste warten, bis ich sie einlasse",
  stageWanted: "Wer sprechen darf",
  stageAll: "Alle",
  stageAsked: "Wen ich auf die Bühne lasse",
  open: "Raum eröffnen",
  back: "Zurück",
  cancel: "Abbrechen",
  close: "Schließen",

  // devices
  prejoinTitle: "Bereit?",
  stageTitle: "Auf die Bühne gehen",
  stageNow: "Auf die Bühne gehen",
  stageLead: "Auf der Bühne sehen und hören dich die anderen.",
  settings: "Einstellungen",
  camera: "Kamera",
  microphone: "Mikrofon",
  loudspeaker: "Lautsprecher",
  ownDefault: "Vorgabe des Systems",
  noneFound: "Keins gefunden",
  level: "Pegel des Mikrofons",
  testTone: "Testton abspielen",
  cleaning: "Ton des Mikrofons",
  echo: "Echos entfernen",
  noise: "Rauschen entfernen",
  gain: "Lautstärke ausgleichen",
  cameraIsOff: "Die Kamera ist aus",
  ownPicture: "Dein eigenes Bild",

  // the bar; a label and what it does with its key
  mute: "Stumm",
  unmute: "Ton an",
  cameraOff: "Kamera aus",
  cameraOn: "Kamera an",
  share: "Teilen",
  unshare: "Teilen beenden",
  raiseHand: "Melden",
  lowerHand: "Hand senken",
  takeFloor: "Sprechen",
  giveFloor: "Nur zuschauen",
  leave: "Verlassen",
  people: "Personen",
  chat: "Chat",
  connection: "Verbindung",
  host: "Gastgeber",
  more: "Mehr",
  film: "Videodatei für alle abspielen",
  smallWindow: "Kleines Fenster",
  fullScreen: "Vollbild",
  endFullScreen: "Vollbild beenden",
  shortcuts: "Tastenkürzel",
  invite: "Einladen",
  controls: "Bedienung des Raums",
  soundOff: "Der Browser spielt Ton erst nach einem Klick ab.",
  sound: "Ton einschalten",

  // states of the room
  joining: "Du kommst herein …",
  retrying: "Der Server, der neue Gäste vermittelt, ist nicht erreichbar. Neuer Versuch …",
  opening: "Der Raum wird eröffnet …",
  lobbyTitle: "Bitte warten",
  lobby: "Der Gastgeber lässt dich gleich ein.",
  reconnecting: "Die Verbindung ist abgerissen. Ein anderer Weg wird gesucht …",
  hostSilent: (name) =>
    `Vom Gastgeber ${name} kommt nichts, und niemand sonst ist auf der Bühne, der weitermachen könnte. Der Raum ist wieder da, sobald der Gastgeber es ist.`,
  empty: {
    "nobody-here": "Noch ist niemand sonst hier.",
    "nobody-speaks": "Noch spricht niemand.",
    "nobody-else-speaks": "Noch spricht niemand sonst.",
    "speakers-apart":
      "Die Sprecher sehen einander direkt. Um sie zu sehen, sprich selbst, oder lass jemanden „plenary mixer“ mit dem Link starten.",
    "mesh-full":
      "Ohne Mixer sprechen höchstens vier, und vier sind es schon. Sie und du seht einander erst, wenn jemand „plenary mixer“ mit dem Link startet.",
  },
  noMixer: "Im Augenblick mischt hier niemand. Das Bild kommt, sobald jemand „plenary mixer“ mit dem Link startet.",
  noRendezvous: "Der Server, der neue Gäste vermittelt, ist fort. Der Raum geht weiter.",
  rejected: {
    "other-version":
      "Diese Seite ist älter als der Server des Raums. Lade sie neu: Nach einer verlorenen Verbindung käme sie nicht zurück.",
    "bad-proof":
      "Der Server, der neue Gäste vermittelt, kennt diese Seite nicht mehr. Lade sie neu: Nach einer verlorenen Verbindung käme sie nicht zurück.",
  },
  waitingFloor: "Du hast dich gemeldet. Der Gastgeber kann dir das Wort geben.",
  networkChanged: "Dein Netzwerk hat gewechselt. Es geht über das neue weiter.",
  floorOffered: "Der Gastgeber bittet dich auf die Bühne.",
  floorGiven: "Du hast das Wort.",
  floorTaken: "Der Gastgeber hat dich ins Publikum gesetzt.",
  floorDenied: "Der Gastgeber hat dir diesmal nicht das Wort gegeben.",
  mutedByHost: "Der Gastgeber hat dich stummgeschaltet.",
  pictureOffByHost: "Der Gastgeber hat deine Kamera ausgeschaltet.",
  hostIsMe: "Jetzt bist du der Gastgeber.",
  hostIs: (name) => `Gastgeber ist jetzt ${name}.`,
  soloRefused: (name) => `${name} lässt sich nicht anheften: Du siehst den ganzen Raum.`,
  soloAway: (name) => `Das Bild von ${name} ist fort. Du siehst den ganzen Raum, bis es wiederkommt.`,
  knocks: (name, mixes, others) =>
    `${name} ${mixes ? "bietet an zu mischen und wartet" : "wartet"} auf Einlass.${andMore(others)}`,
  wantsFloor: (name, others) => `${name} bittet ums Wort.${andMore(others)}`,
  removedByAnother: (name, by) =>
    `Während du fort warst, hat ${by} ${name} entfernt. Wer entfernt ist, kommt wieder, wenn du es nicht verhinderst.`,
  cameOnStage: (names) => `${names}: jetzt auf der Bühne.`,
  leftStage: (names) => `${names}: nicht mehr auf der Bühne.`,
  said: (name, text) => `${name}: ${text}`,

  // people
  onStage: "Auf der Bühne",
  waiting: "Wollen herein",
  hands: "Meldungen",
  watchers: (count) => (count === 1 ? "1 Person schaut zu" : `${count} Personen schauen zu`),
  you: "du",
  isHost: "Gastgeber",
  isNamed: "benannt",
  isNamedHint: "Der Gastgeber hat diesen Peer benannt: Er stimmt mit ab und darf mischen",
  offersToMix: "bietet an zu mischen",
  removedTitle: "Entfernt, während du fort warst",
  removedBy: (name) => `von ${name}`,
  keepOut: (name) => `${name} draußen lassen`,
  letBack: (name) => `${name} darf wiederkommen`,
  speaking: "spricht",
  onlyMixes: "hilft, spricht nicht",
  soundMuted: "stumm",
  pictureMuted: "kein Bild",
  sharing: "teilt einen Bildschirm",
  away: "Verbindung abgerissen",
  pin: (name) => `Nur ${name} zeigen`,
  pinned: (name) => `Du siehst nur ${name}.`,
  pinnedLeft: (name) => `${name} ist nicht mehr auf der Bühne. Du siehst den ganzen Raum.`,
  unpin: "Wieder den ganzen Raum zeigen",
  admit: (name) => `${name} einlassen`,
  admitAll: "Alle einlassen",
  deny: (name) => `${name} abweisen`,
  promote: (name) => `${name} das Wort geben`,
  denyFloor: (name) => `Jetzt nicht, ${name}`,
  muteAll: "Alle bitten, stumm zu schalten",
  askToMute: (name) => `${name} bitten, stumm zu schalten`,
  moreAbout: (name) => `Mehr für ${name}`,
  demote: "Ins Publikum setzen",
  handOver: "Zum Gastgeber machen",
  remove: (name) => `${name} entfernen`,
  removeSure: (name) => `${name} aus dem Raum entfernen? Ersetze auch den Link, wenn niemand damit wiederkommen soll.`,
  removeNow: "Entfernen",
  handOverSure: (name) => `${name} zum Gastgeber machen? Du bleibst im Raum, ohne die Mittel des Gastgebers.`,

  // chat
  chatEmpty: "Noch keine Nachrichten. Sie werden nicht aufgehoben: Wer später kommt, sieht ältere nicht.",
  chatCommands:
    "/speak, /watch. Für Gastgeber, mit einem Namen: /admit, /deny, /promote, /demote, /mute, /remove, /ban, /hand-over. " +
    "Und: /mute-all, /lock, /unlock, /lobby on, /stage open, /mixing anyone, /layout grid, /mixers 2, /invite, /end.",
  chatField: "Nachricht an alle",
  chatSend: "Senden",
  chatStage: "Wer auf der Bühne ist, kann schreiben. Melde dich, um auf die Bühne zu kommen.",

  // the host's tools
  hostTools: "Mittel des Gastgebers",
  locked: "Raum abschließen",
  lockedHint: "Niemand kommt mehr herein",
  lobbyOn: "Warteraum",
  lobbyHint: "Du lässt neue Gäste einzeln ein",
  stageOpen: "Offene Bühne",
  stageHint: "Alle dürfen sprechen, ohne zu fragen",
  mixByNamed: "Nur Benannte mischen",
  mixByNamedHint:
    "Wer mischt, sieht und hört alle Sprecher: du, und wem du das Wort gegeben oder den du dafür eingelassen hast",
  removeUnnamed: "Alle Gäste entfernen, die nur mischen",
  removeUnnamedSure:
    "Alle entfernen, die nur zum Mischen auf der Bühne sind und die du nicht benannt hast? Ersetze auch den Link, wenn sie nicht wiederkommen sollen.",
  layout: "Aufteilung",
  layouts: {
    grid: "Alle gleich groß",
    active: "Sprecher groß",
    share: "Geteilter Bildschirm groß",
    "side-by-side": "Nebeneinander",
    custom: "Eigene Aufteilung",
  },
  mixers: "Mixer",
  mixersAuto: "So viele wie nötig",
  takeBack: "Wieder Gastgeber werden",
  end: "Raum für alle beenden",
  endSure: "Den Raum für alle beenden? Alle werden getrennt.",
  endNow: "Raum beenden",
  leaveTitle: "Raum verlassen?",
  leaveSure: "Du bist der Gastgeber. Wenn du gehst, geht der Raum weiter, und jemand anderes wird Gastgeber.",
  leaveNow: "Verlassen",
  followSure: "Diesen Raum verlassen und in den des neuen Links gehen?",
  followNow: "Dorthin gehen",
  inviteTitle: "Einladen",
  inviteLead: "Wer diesen Link hat, kann hereinkommen.",
  inviteLink: "Link zu diesem Raum",
  copy: "Link kopieren",
  copied: "Kopiert",
  copyYourself: (link) => `Der Browser lässt die Seite nicht kopieren. Kopiere den Link selbst: ${link}`,
  send: "Mit einer anderen App senden",
  qr: "Der Link als QR-Code",
  renew: "Link ersetzen",
  renewHint: "Der alte Link lässt niemanden mehr ein.",

  // connection
  good: "Gute Verbindung",
  weak: "Schwache Verbindung",
  lost: "Keine Verbindung",
  whyGood: "Bild und Ton kommen rechtzeitig an.",
  pictureComes: "Das Bild ist unterwegs …",
  whyParent: "Im Augenblick beliefert kein Peer diese Seite.",
  whyMixer: "Im Augenblick mischt niemand das Bild.",
  whyLoss: (percent) => `In den letzten Sekunden fehlten ${percent} % der Bilder.`,
  whyLate: (lateMs) => `Die Bilder kommen ${decimal((lateMs / 1000).toFixed(1))} s zu spät.`,
  yourWay: "Dein Weg zum Raum",
  mixedBy: "Gemischt von",
  fedBy: "Beliefert von",
  backup: "In Reserve",
  feeds: "Du belieferst",
  feedsCount: (count) => (count === 1 ? "1 Peer" : `${count} Peers`),
  path: "Weg des Programms",
  depth: "Schritte vom Mixer",
  changes: "Wechsel des Wegs",
  counts: "Was ankommt",
  pictures: "Bilder",
  picturesOf: (received, expected) => `${received} von ${expected}`,
  latency: "Verzögerung, meistens / höchstens",
  late: "Hinter dem Raum",
  gap: "Längste Pause",
  uplink: "Leitung hinauf",
  ratesAbove: "Kommt zu dir über",
  ratesAboveOf: (receivedBps, sentBps, children) =>
    `${rate(receivedBps)} herein, ${rate(sentBps)} hinaus, beliefert ${children}`,
  rates: "Herab, hinauf",
  ratesOf: (receivedBps, sentBps) => `${rate(receivedBps)}, ${rate(sentBps)}`,
  encoder: "Dein Bild",
  encoderOf: (bps, encodeMs) => `${rate(bps)}${encodeMs === null ? "" : `, ${Math.round(encodeMs)} ms zum Kodieren`}`,
  links: "Verbindungen",
  ways: {
    direct: "direkt",
    relayed: "über einen TURN-Server",
    carried: "über ein Mitglied",
    websocket: "über den Server",
  },
  nat: "Router vor dir",
  nats: {
    unknown: "noch nicht bekannt",
    open: "keiner",
    "one-port": "lässt andere zu dir durch",
    "port-each": "lässt nur wenige zu dir durch",
  },
  localNetworkAsked:
    "Dein Browser fragt vielleicht, ob diese Seite dein lokales Netz erreichen darf. Dann sprichst du mit Menschen in deiner Nähe direkt.",
  localNetwork: "Dein lokales Netz",
  localNetworks: {
    granted: "erreichbar",
    denied: "vom Browser verwehrt",
    prompt: "der Browser fragt",
  },
  tree: "Wer die Zuschauer dieses Raums beliefert",
  none: "keine",
  unknown: "noch nicht bekannt",
  nobody: "niemand",
  modes: {
    mesh: "Direkt zwischen den Sprechern",
    "pass-through": "Weitergegeben, nicht gemischt",
    mixer: "Ein Bild, gemischt",
  },
  mode: "Wie",

  // shortcuts
  keys: [
    ["M", "Stumm oder Ton an"],
    ["V", "Kamera an oder aus"],
    ["S", "Bildschirm teilen oder nicht mehr"],
    ["H", "Melden oder Hand senken"],
    ["C", "Chat"],
    ["L", "Personen"],
    ["P", "Verbindung"],
    ["F", "Vollbild"],
    ["Leertaste", "Zum Sprechen halten, solange du stumm bist"],
    ["?", "Diese Liste"],
    ["Esc", "Offenes schließen"],
  ],

  // ends
  again: "Noch einmal versuchen",
  reload: "Seite neu laden",
  start: "Zum Anfang",
  asGuest: "Als Gast teilnehmen",
  openAnother: "Anderen Raum eröffnen",
  rejoin: "Wiederkommen",
  chooseDevice: "Anderes wählen",
  showPeople: "Personen zeigen",
  dismiss: "Gut",
  noPlace:
    "Dieser Raum ist im Augenblick voller Zuschauer. Das Bild kommt, sobald jemand geht oder mit einem starken Rechner hilft, auf dem plenary läuft.",

  // why something doesn't work
  reasons: {
    // the invite
    "not-an-invite": noLink,
    "invite-damaged": noLink,
    "invite-version": otherVersion,
    "invite-expired": "Diese Einladung ist abgelaufen. Bitte den Gastgeber um einen neuen Link.",
    "invite-replaced": "Der Gastgeber hat diese Einladung ersetzt. Bitte ihn um den neuen Link.",
    "password-needed": "Dieser Raum hat ein Passwort. Der Gastgeber kennt es.",
    "wrong-password": "Das war nicht das Passwort. Versuch es noch einmal.",
    "not-a-page": "Die Adresse einer Seite sieht so aus: https://example.org/room/.",
    "long-rendezvous": "Die Adresse des Servers ist zu lang für einen Link zu dieser Seite.",
    "no-rendezvous":
      "Der Link nennt keinen Server, bei dem ein Browser den Raum findet. Bitte den Gastgeber um einen anderen.",
    // the host's answer
    "stage-full": "Die Bühne ist voll. Du kannst zuschauen und das Wort nehmen, wenn jemand sie verlassen hat.",
    "stage-closed": "Der Gastgeber lässt Sprecher einzeln ein.",
    locked: "Der Gastgeber hat den Raum abgeschlossen: Im Augenblick kommt niemand herein.",
    "not-let-in": "Der Gastgeber hat dich nicht eingelassen.",
    "no-answer": "Der Gastgeber antwortet nicht: Vielleicht ist der Raum zu Ende.",
    "room-version": otherVersion,
    // the server that introduces newcomers
    "other-version": otherVersion,
    "bad-proof": "Der Server erkennt den Nachweis dieser Seite nicht an, wer sie ist.",
    "not-open": notOpen,
    "not-yet": notOpen,
    "room-full": "Der Raum ist voll. Versuch es wieder, wenn jemand gegangen ist.",
    "too-many-rooms": "Dieser Server hat im Augenblick keinen Platz für noch einen Raum. Versuch es später.",
    "other-origin":
      "Der Server des Raums lässt niemanden von dieser Website ein. Öffne einen Link zur eigenen Seite des Servers, oder bitte seinen Betreiber, diese Website zu erlauben.",
    "host-present":
      "Dieser Raum ist anderswo mit denselben Schlüsseln offen und hat dort seinen Gastgeber. Mach dort weiter, oder nimm hier als Gast teil.",
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
    unknown: "Der Server, der neue Gäste vermittelt, lässt diese Seite nicht ein.",
    // the clock
    "wrong-clock": "Die Uhr dieses Geräts geht falsch. Der Raum richtet sich nach der seines Servers.",
    "other-clock":
      "Bei jemandem geht die Uhr um mehr als fünf Minuten falsch, und dieses Gerät kommt nicht in den Raum.",
    // ends
    removed: "Der Gastgeber hat dich aus dem Raum entfernt.",
    ended: "Der Gastgeber hat den Raum beendet.",
    replaced:
      "Dieser Raum ist in einem anderen Tab mit derselben Identität offen. Mach dort weiter, oder komm hier wieder herein.",
    left: "Du hast den Raum verlassen.",
    lost: "Der Raum ist auf diesem Gerät stehen geblieben.",
    // the host's powers
    "not-host": "Das darf nur der Gastgeber des Raums.",
    itself: "Das kann der Gastgeber nicht mit sich selbst tun.",
    "off-stage": "Das kann nur, wer auf der Bühne ist.",
    stranger: "Niemand mit diesem Namen ist im Raum.",
    "too-soon": "Der Gastgeber von vorher kommt vielleicht wieder. Versuch es in zehn Sekunden.",
    "nobody-answers": "Niemand im Raum hat geantwortet, seit er wieder eröffnet ist.",
    "too-many-agents": "Der Raum hat so viele Agenten, wie er haben darf.",
    "too-many-mixers": "Ein Raum hat höchstens acht Mixer.",
    "no-such-command": "Diesen Befehl gibt es nicht: /help nennt alle.",
    "wrong-argument": "Dem Befehl fehlt ein Name oder ein Wort, oder es passt nicht: /help nennt alle.",
    "no-such-peer": "So heißt hier niemand.",
    "several-peers": "So heißen mehrere: Schreib die ersten Ziffern dessen, den du meinst.",
    "bad-keys": "Was dieser Tab von deinem Raum aufgehoben hat, ist nicht lesbar. Eröffne einen neuen.",
    "bad-rendezvous": "Eine Seite eröffnet Räume bei einem Server, dessen Adresse mit http oder https beginnt.",
    // what is sent
    "no-speaker": "Nur wer auf der Bühne spricht, ist zu sehen und zu hören.",
    "second-camera": "Deine Kamera ist schon an.",
    "second-share": "Du teilst schon einen Bildschirm oder einen Film.",
    "second-sound": "Dein Mikrofon ist schon an.",
    "not-on-stage": "Wer auf der Bühne ist, kann schreiben. Melde dich, um auf die Bühne zu kommen.",
    "long-data": "Der Text ist zu lang.",
    "not-named": "Die Bühne ist geschlossen: Nur Sprecher können schreiben.",
    "too-fast": "Das war zu viel auf einmal. Warte einen Augenblick.",
    // the browser and the page
    "no-browser":
      "Dieser Browser kann nicht teilnehmen: Er braucht WebRTC mit „encoded transforms“ (Chrome 141, Firefox 128, Safari 17 oder neuer). Öffne den Link in einem davon.",
    "not-loaded": otherVersion,
    blocked:
      "Diese Seite kam über https, und der Browser sperrt die einfache http-Adresse des Raums. Öffne den eigenen Link des Raums.",
    "open-elsewhere":
      "Dieser Raum ist in einem anderen Tab offen, der sein Gastgeber ist. Mach dort weiter, oder nimm hier als Gast teil.",
    "no-auto": "Diese Seite öffnet eine Kamera erst nach einem Klick.",
    "copy-failed": "Der Browser lässt die Seite nicht kopieren. Markiere den Link und kopiere ihn selbst.",
    // camera and microphone
    insecure: "Kamera und Mikrofon gibt ein Browser nur Seiten mit https. Hier kannst du nur zuschauen.",
    denied:
      "Der Browser durfte Kamera und Mikrofon nicht benutzen. Erlaube es in seiner Adresszeile und versuch es noch einmal, oder schau nur zu.",
    "denied-camera":
      "Der Browser durfte die Kamera nicht benutzen: Die anderen hören dich und sehen kein Bild von dir.",
    "denied-microphone": "Der Browser durfte das Mikrofon nicht benutzen: Die anderen hören dich nicht.",
    "no-devices":
      "Keine Kamera und kein Mikrofon gefunden. Schließ etwas an und versuch es noch einmal, oder schau nur zu.",
    "no-camera": "Keine Kamera gefunden: Die anderen hören dich und sehen kein Bild von dir.",
    "no-microphone": "Kein Mikrofon gefunden: Die anderen hören dich nicht.",
    busy: "Ein anderes Programm benutzt Kamera oder Mikrofon. Schließ es dort und versuch es noch einmal, oder schau nur zu.",
    "busy-camera":
      "Ein anderes Programm benutzt die Kamera: Die anderen hören dich und sehen kein Bild von dir. Schließ sie dort und schalte sie hier ein.",
    "busy-microphone":
      "Ein anderes Programm benutzt das Mikrofon: Die anderen hören dich nicht. Schließ es dort und schalte hier den Ton an.",
    // pictures
    "no-encoder": "Dieser Browser kann kein H.264 senden: Die anderen hören dich und sehen kein Bild von dir.",
    "no-pictures":
      "Dieser Browser hat kein H.264: Du hörst die anderen und sie dich, ohne Bilder. Ein anderer Browser hat sie.",
    "no-screens": "Dieser Browser kann keinen Bildschirm teilen.",
    "no-screen":
      "Der Browser kommt an diesen Bildschirm oder dieses Fenster nicht heran. Versuch es noch einmal, oder wähle etwas anderes.",
    "no-films": "Dieser Browser kann keine Videodatei senden. Teile ein Fenster, in dem sie läuft.",
    "bad-film": "Der Browser kann diese Datei nicht abspielen. Er nimmt mp4 und webm.",
    "limited-cpu":
      "Dieses Gerät ist zu langsam für das Bild, um das der Raum bittet. Die anderen sehen deins kleiner oder weniger flüssig.",
    "limited-bandwidth":
      "Deine Leitung trägt weniger, als der Raum erbittet. Die anderen sehen dein Bild kleiner oder weniger flüssig.",
  },

  // devices in the room
  noDecoder: "Dieser Browser hat kein H.264: Du hörst den Raum und siehst kein Bild. Ein anderer Browser zeigt es.",
  lostCamera: "Die Kamera ist abgezogen. Die anderen sehen dich nicht mehr.",
  lostMicrophone: "Das Mikrofon ist abgezogen. Die anderen hören dich nicht mehr.",
  lostBoth: "Kamera und Mikrofon sind abgezogen. Die anderen sehen und hören dich nicht.",
};

/** That others have done the same, who are listed. */
function andMore(others: number): string {
  return others === 0 ? "" : ` ${others} mehr seit dem letzten Mal.`;
}
