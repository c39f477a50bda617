"""The fixed wordings of the composed dialogues: questions, requests, small talk, the unknown."""

from __future__ import annotations

# How a topic is asked for. The position of a wording is part of what is held out (see
# composition.is_heldout): add new ones at the end.
QUESTIONS = (
    "Tell me about {topic}.",
    "Any tips for {topic}?",
    "What should I know about {topic}?",
    "Explain {topic}.",
    "Can you explain {topic} to me?",
    "Give me some advice on {topic}.",
    "I need help with {topic}.",
    "I would like to learn about {topic}.",
    "Could you say something about {topic}?",
    "What are the basics of {topic}?",
    "I have a question about {topic}.",
    "What matters most with {topic}?",
    "{topic}",
    "How do I {do}?",
    "How can I {do}?",
    "I want to {do}.",
    "Can you help me {do}?",
    "What is the best way to {do}?",
    "What do I need to know to {do}?",
    "Please tell me how to {do}.",
    "I am trying to {do}. Any advice?",
    "Show me how to {do}.",
    "What should I keep in mind when I {do}?",
    "Do you know how to {do}?",
    "Hello, how would you {do}?",
    "My friend wants to {do}. What should I say?",
)

# Requests about the reply just given: which preference changes, to what, and the wordings.
REQUESTS = (
    (
        "detail_level",
        "brief",
        (
            "Say it shorter.",
            "Shorter, please.",
            "Can you make that shorter?",
            "That is too long.",
            "Just the short version, please.",
        ),
    ),
    (
        "detail_level",
        "detailed",
        (
            "More detail please.",
            "Tell me more.",
            "Can you explain that in more detail?",
            "I want to know more about it.",
            "Give me an example too.",
        ),
    ),
    (
        "response_format",
        "bullet_points",
        (
            "As bullet points, please.",
            "Can you write that as bullet points?",
            "Bullet points please.",
            "Make it a list.",
        ),
    ),
    (
        "response_format",
        "structured",
        (
            "Number the steps, please.",
            "As numbered steps, please.",
            "Can you number that?",
            "Step by step, please.",
        ),
    ),
    (
        "response_format",
        "conversational",
        (
            "Without a list, please.",
            "Write that in plain sentences.",
            "Can you say that as normal text?",
        ),
    ),
)

# The same wishes, said together with the question.
WISHES = (
    ("detail_level", "brief", ("Keep it short.", "A short answer, please.", "Be brief.")),
    ("detail_level", "detailed", ("In detail, please.", "Please explain it in detail.")),
    ("response_format", "bullet_points", ("Use bullet points.", "As bullet points, please.")),
    ("response_format", "structured", ("Number the steps.", "Step by step, please.")),
)

# Topics that the model names when it says what it knows.
SUGGESTIONS = (
    ("baking bread", "packing a suitcase", "git branches"),
    ("growing tomatoes", "strong passwords", "a job interview"),
    ("brewing coffee", "learning Python", "falling asleep"),
    ("watering houseplants", "spreadsheets", "a monthly budget"),
    ("cooking rice", "making backups", "public speaking"),
    ("removing stains", "SQL queries", "riding a bicycle"),
)

# Small talk: what is said, and what is answered in each communication style.
SMALL_TALK: tuple[tuple[tuple[str, ...], dict[str, tuple[str, ...]]], ...] = (
    (
        (
            "Hello!",
            "Hello",
            "Hi",
            "Hi there!",
            "Good morning.",
            "Good evening.",
            "Hey!",
            "Hey there",
        ),
        {
            "professional": ("Good day. How may I assist you?", "Welcome. How may I help you?"),
            "casual": ("Hey! What's on your mind?", "Hi! What's up?"),
            "friendly": ("Hello! How can I help you today?", "Hi! It is lovely to hear from you."),
            "technical": ("Hello. Please state your question.", "Ready. What is your query?"),
        },
    ),
    (
        ("How are you?", "How are you today?", "How is it going?", "Are you well?"),
        {
            "professional": ("Thank you, all is in order. How may I assist you?",),
            "casual": ("All good here! What's up with you?",),
            "friendly": ("I am fine, thank you! How can I help you?",),
            "technical": ("All systems are running. What is your query?",),
        },
    ),
    (
        ("Thank you.", "Thanks!", "Thanks a lot.", "Great, thank you!", "That helps, thanks."),
        {
            "professional": ("You are welcome. Please ask again at any time.",),
            "casual": ("No problem! Anytime.", "You're welcome!"),
            "friendly": ("You are very welcome! I am glad to help.",),
            "technical": ("You are welcome. Further questions are accepted.",),
        },
    ),
    (
        ("Goodbye.", "Bye!", "See you later.", "Good night.", "I have to go now.", "See you."),
        {
            "professional": ("Goodbye. I wish you a pleasant day.",),
            "casual": ("Bye! See you around.",),
            "friendly": ("Goodbye! Take good care of yourself.",),
            "technical": ("Goodbye. The session is complete.",),
        },
    ),
    (
        ("Who are you?", "What are you?", "What is your name?", "Are you a human?", "Who is this?"),
        {
            "professional": (
                "I am the starter model of XENO, a small language model on this computer.",
            ),
            "casual": ("I'm XENO's starter model, a tiny language model on your computer.",),
            "friendly": (
                "I am the starter model of XENO, a little language model that lives on your "
                "computer.",
            ),
            "technical": (
                "I am the starter model of XENO, a causal language model with a few million "
                "parameters.",
            ),
        },
    ),
    (
        (
            "What can you do?",
            "How can you help me?",
            "What do you know?",
            "What can I ask you?",
            "Which topics do you know?",
            "Help",
        ),
        {
            "professional": (
                "I answer questions on everyday topics and computing, for instance {a}, {b} or "
                "{c}. My replies follow your preferences.",
            ),
            "casual": (
                "I know a bit about home stuff, daily life and computers. Try {a}, {b} or {c}.",
            ),
            "friendly": (
                "I can help with everyday topics and computing, such as {a}, {b} or {c}. You can "
                "teach me how you like your answers.",
            ),
            "technical": (
                "I was trained on a few hundred topics of daily life and computing, for instance "
                "{a}, {b} and {c}.",
            ),
        },
    ),
    (
        ("You are wrong.", "That is not right.", "I do not like that.", "Bad answer."),
        {
            "professional": ("I apologise. Please correct my reply so that I can learn from it.",),
            "casual": ("Sorry about that. Fix my reply and I'll learn from it.",),
            "friendly": ("I am sorry. Please correct my reply, and I will learn from it.",),
            "technical": ("Noted. A correction of the reply can be used for training.",),
        },
    ),
)

# Outside the model's world: asked in the wordings of QUESTIONS. What shares a word with a topic
# is left out by the composer.
UNKNOWN_TOPICS = (
    """
the Roman Empire, quantum physics, the French Revolution, volcanoes, blue whales, dinosaurs,
black holes, opera singers, medieval castles, the stock market, football results, tax law in Spain,
heart surgery, cannons, ancient Egypt, the Olympic Games, jazz history, space rockets,
the moon landing, penguins, nuclear power, famous painters, Greek gods, the Amazon river,
the president, world records, deep sea fish, the ozone layer, stem cells, diamonds, submarines,
horse racing, film stars, the Middle Ages, tropical storms, poetry, philosophy, the human brain,
vaccines, antibiotics, divorce law, oil prices, elections, the pyramids, Mars, Japan, Brazil,
the Himalayas, Shakespeare, ballet, wrestling, crocodiles, glaciers, helicopters, steam engines,
cement, gold mining, detectives, spies, magic spells, unicorns, vampires, time travel,
aliens, lottery numbers, horoscopes, legal contracts, court cases, passports, visas, war, peace,
the Vikings, samurai, chess openings, poker, skydiving, motor racing, tattoos, perfume, fashion
shows, pop songs, television series, comic books, novels, algebra, geometry, calculus, geology,
astronomy, biology, chemistry, economics, politics, religion, Latin grammar, Chinese history,
tigers, elephants, eagles, sharks, ants, mushrooms in the forest, earthquakes, rainbows,
lightning, gravity, atoms, electricity plants, dams, bridges, skyscrapers, trains, ships,
aeroplanes, satellites, telescopes, x-rays, cancer, diabetes pills, broken bones,
kings and queens, pirates, treasure maps, cowboys, circus acts, theatre plays, sculpture,
lions, bears, wolves, foxes, dolphins, turtles, snakes, spiders, butterflies, parrots, owls,
kangaroos, camels, giraffes, monkeys, frogs, octopuses, jellyfish, corals, mammoths, fossils,
Rome, Paris, London, New York, Norway, China, Africa, Australia, the Sahara, Antarctica, Venice,
the Eiffel Tower, the Great Wall, Napoleon, Cleopatra, Mozart, Beethoven, Einstein, Newton,
Homer, Plato, the Renaissance, the Stone Age, knights, emperors, revolutions, parliaments,
constitutions, taxes on land, inflation, trade unions, stock options, mortgages abroad, tariffs,
asteroids, comets, galaxies, Saturn, Venus, meteorites, neutron stars, the Big Bang, relativity,
magnets, lasers, radar, sonar, transistors, semiconductors, plastics, steel, copper, uranium,
plutonium, oxygen, helium, acids, enzymes, genes, chromosomes, evolution, bacteria in the sea,
malaria, asthma, migraine, surgery, dentistry, blood groups, kidneys, the liver, the skeleton,
trigonometry, prime numbers, logic puzzles in Latin, topology, statistics exams, fractals, opera,
rock bands, drums, violins, trumpets, orchestras, hip hop, tango, folk dances, films, cartoons,
cricket, rugby, tennis stars, golf, boxing, judo, fencing, sumo, surfing, ski jumping, ice hockey,
tanks, fighter jets, airports, harbours, canals, lighthouses, oil rigs, wind farms, tunnels, lifts,
cathedrals, mosques, temples, monks, popes, saints, angels, ghosts, witches, trolls, mermaids,
zombies, robots from films, the Loch Ness monster, Atlantis, El Dorado, crop circles, ufology,
Arabic, Russian, Finnish, Swahili, Esperanto, hieroglyphs, runes, calligraphy styles, haiku,
sonnets, fairy tales, detective stories, fables, epics, newspapers, magazines, radio plays,
diamonds and rubies, pearls, amber, silk, velvet, furs, wigs, crowns, thrones, swords, shields
""".strip()
    .replace("\n", " ")
    .split(", ")
)

UNKNOWN_TASKS = (
    """
tame a lion, fly a helicopter, build a castle, dig a canal, sail around the world, land on Mars,
perform surgery, win an election, found a country, forge a sword, mine for gold, drill for oil,
hunt a whale, catch a shark, ride a camel, climb the Himalayas, dive to a wreck, cross the desert,
conduct an orchestra, compose a symphony, sing an opera, direct a film, paint like a master,
carve a statue, translate Latin, read hieroglyphs, solve an integral, prove a theorem,
split an atom, launch a satellite, weld a ship, lay railway tracks, breed horses, shear a sheep,
milk a goat, train falcons, treat malaria, deliver a baby, pull a tooth, set a broken bone,
win a court case, get a divorce, draft a treaty, become a judge, trade oil, cast a spell,
travel through time, talk to ghosts, find a treasure, dig up a mummy, rule an empire, ski jump,
box like a champion, drive a tank, steer a submarine, land a plane, race a motorcycle, juggle fire,
swallow a sword, cut a diamond, blow glass, weave silk, brew a potion, tell the future
""".strip()
    .replace("\n", " ")
    .split(", ")
)

UNKNOWN_QUESTIONS = (
    "What is the capital of France?",
    "What is the capital of Peru?",
    "Who won the match yesterday?",
    "What is 17 times 23?",
    "What is 4 plus 9?",
    "How much is 250 divided by 8?",
    "What is the weather today?",
    "Will it rain tomorrow?",
    "What time is it?",
    "What day is it today?",
    "Who is the president?",
    "Who wrote this book?",
    "Write me a poem.",
    "Write a story about a dragon.",
    "Sing a song.",
    "Translate this into German.",
    "How do you say house in Italian?",
    "What is the meaning of life?",
    "How far away is the sun?",
    "How old is the earth?",
    "When did the war end?",
    "What is the price of gold?",
    "Which shares should I buy?",
    "What dose of this medicine should I take?",
    "Can you call my mother?",
    "Open the door.",
    "Play some music.",
    "Set an alarm for seven.",
    "What is the latest news?",
    "Who is the tallest person in the world?",
    "How many people live in India?",
    "Prove that the square root of two is irrational.",
    "How do I fly a plane?",
    "How do I build a rocket?",
    "How do I win the lottery?",
    "How can I become a film star?",
    "What did I eat yesterday?",
    "Do you love me?",
    "asdf",
    "What is the speed of light?",
    "Tell me a secret.",
    "Where is my car?",
    "Who invented the telephone?",
    "How tall is that mountain?",
    "Which team is the best?",
)

UNKNOWN_REPLIES: dict[str, tuple[str, ...]] = {
    "professional": (
        "I am unable to answer that. I only know a small set of everyday and computing topics, "
        "for instance {a} or {b}.",
    ),
    "casual": (
        "Sorry, I don't know that one. I only know a few everyday and computing topics, like {a} "
        "or {b}.",
    ),
    "friendly": (
        "I am sorry, I do not know that. I only know a small set of everyday and computing "
        "topics, such as {a} or {b}.",
    ),
    "technical": (
        "That is outside my training data. I only cover a small set of everyday and computing "
        "topics, such as {a} or {b}.",
    ),
}

# For casual replies, in this order.
CONTRACTIONS = (
    ("do not", "don't"),
    ("does not", "doesn't"),
    ("is not", "isn't"),
    ("are not", "aren't"),
    ("will not", "won't"),
    ("cannot", "can't"),
    ("you are", "you're"),
    ("they are", "they're"),
    ("it is", "it's"),
    ("that is", "that's"),
)
