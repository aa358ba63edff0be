// What the page says, in each language.

export const TEXTS = {
  en: {
    title: "How many people are speaking?",
    language: "Language",
    privacy: "Sound stays in this browser: it is sent nowhere, and not kept. Once loaded, the page works offline.",
    choose: "Choose a recording, or drop it here",
    listen: "Listen at the microphone",
    stop: "Stop listening",
    loading: "Loading the net …",
    ready: "Ready.",
    decoding: "Reading {name} …",
    counting: "Counting in {name} …",
    listening: "Listening …",
    microphone: "Microphone",
    waveform: "Waveform",
    counts: "Speakers over time",
    confidence: "Confidence: the probability of the count",
    confidenceShort: "Confidence",
    summary: "How long",
    speakers: "Speakers",
    seconds: "Seconds",
    share: "Share",
    from: "From (s)",
    to: "To (s)",
    asTable: "The count over time as a table",
    nobody: "nobody speaks",
    one: "1 speaker",
    many: "{count} speakers",
    done: "{name}: {duration} s, at most {most} at once, overlap in {overlap} of the speech.",
    picture: "{title}; the tables below say the same in words.",
    limits:
      "The net was trained on read speech, with up to three people at once, and hears one second at a time. Music, " +
      "children, far microphones and telephones can mislead it.",
    failed: "The page cannot count: {reason}",
    tooLarge: "The file is larger than 200 MB: cut it into parts, or use speaker-count predict.",
    empty: "The file is empty.",
    noSound: "The file holds no sound that this browser can read.",
    tooLong: "The recording is longer than an hour: cut it into parts, or use speaker-count predict.",
    tooShort: "The recording is shorter than the net's window.",
    noNumbers: "The recording has samples that are not numbers.",
    refused: "The microphone was refused: allow it for this page in the browser's settings.",
    noMicrophone: "There is no microphone that this page may use.",
    noRate: "This browser cannot take the microphone at the net's sample rate: record a file, and choose it.",
    lost: "The microphone was disconnected.",
  },
  es: {
    title: "¿Cuántas personas hablan?",
    language: "Idioma",
    privacy: "El sonido no sale de este navegador: no se envía ni se guarda. Una vez cargada, la página funciona sin conexión.",
    choose: "Elija una grabación o arrástrela aquí",
    listen: "Escuchar con el micrófono",
    stop: "Dejar de escuchar",
    loading: "Cargando la red …",
    ready: "Lista.",
    decoding: "Leyendo {name} …",
    counting: "Contando en {name} …",
    listening: "Escuchando …",
    microphone: "Micrófono",
    waveform: "Forma de onda",
    counts: "Hablantes a lo largo del tiempo",
    confidence: "Confianza: la probabilidad del número",
    confidenceShort: "Confianza",
    summary: "Cuánto tiempo",
    speakers: "Hablantes",
    seconds: "Segundos",
    share: "Parte",
    from: "Desde (s)",
    to: "Hasta (s)",
    asTable: "El número a lo largo del tiempo, como tabla",
    nobody: "nadie habla",
    one: "1 hablante",
    many: "{count} hablantes",
    done: "{name}: {duration} s, como máximo {most} a la vez, voces simultáneas en el {overlap} del habla.",
    picture: "{title}; las tablas de abajo dicen lo mismo con palabras.",
    limits:
      "La red se entrenó con habla leída, con hasta tres personas a la vez, y oye un segundo cada vez. La música, los " +
      "niños, los micrófonos lejanos y los teléfonos pueden confundirla.",
    failed: "La página no puede contar: {reason}",
    tooLarge: "El archivo supera los 200 MB: divídalo o use speaker-count predict.",
    empty: "El archivo está vacío.",
    noSound: "El archivo no contiene sonido que este navegador pueda leer.",
    tooLong: "La grabación dura más de una hora: divídala o use speaker-count predict.",
    tooShort: "La grabación es más corta que la ventana de la red.",
    noNumbers: "La grabación contiene muestras que no son números.",
    refused: "Se denegó el micrófono: permítalo para esta página en los ajustes del navegador.",
    noMicrophone: "No hay ningún micrófono que esta página pueda usar.",
    noRate: "Este navegador no puede leer el micrófono a la frecuencia de la red: grabe un archivo y elíjalo.",
    lost: "El micrófono se desconectó.",
  },
};

/** The language to begin with: the first of the browser's that the page speaks. */
export function preferred() {
  const found = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag in TEXTS);
  return found ?? "en";
}

/** A text with its values in place of `{name}`. */
export function text(language, key, values = {}) {
  return TEXTS[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
