"""What scripted users and scripted replies talk about: questions, and points that answer them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """One piece of advice: what to do, why, and the figures a specialist would add."""

    advice: str
    reason: str
    figures: str


@dataclass(frozen=True)
class Subject:
    """Something people ask about: `asks` are questions in a plain manner."""

    name: str
    asks: tuple[str, ...]
    points: tuple[Point, ...]
    example: str


def _subject(name: str, asks: str, points: str, example: str) -> Subject:
    lines = points.strip().splitlines()  # three for a point
    parts = [
        [line.strip().removesuffix(" |") for line in lines[i : i + 3]]
        for i in range(0, len(lines), 3)
    ]
    return Subject(
        name,
        tuple(asks.strip().splitlines()),
        tuple(Point(*part) for part in parts),
        example,
    )


SUBJECTS = (
    _subject(
        "rice",
        "how to cook rice\nwhy rice turns sticky\nhow to keep rice warm",
        """Rinse the grains until the water runs clear |
  Loose starch on the surface glues the grains together |
  3 rinses, 2 L each
Measure one cup of rice for two cups of water |
  Too much water leaves the grains mushy |
  mass ratio 1:1.6
Bring the pot to a boil before lowering the heat |
  A steady simmer cooks the grains evenly |
  100 °C, then 85 °C
Keep the lid closed the whole time |
  Escaping steam leaves the top layer raw |
  12 min, no venting
Let the rice rest off the heat |
  The moisture spreads through the pot while it stands |
  10 min at 70 °C
Fluff the grains with a fork before serving |
  Stirring with a spoon breaks them |
  4-5 strokes""",
        "For instance, a small pot for two people takes 150 grams of rice and 300 grams of water.",
    ),
    _subject(
        "sleep",
        "how to fall asleep earlier\n"
        "what to change in the evening to sleep better\n"
        "why I wake at night",
        """Go to bed at the same hour every day |
  The body keeps its own clock and dislikes surprises |
  circadian period 24.2 h
Dim the lights an hour before bed |
  Bright light holds back the hormone that makes us drowsy |
  < 10 lux, 2700 K
Leave the phone in another room |
  Messages wake the mind just when it should settle |
  460 nm emission peak
Drink the last coffee before lunch |
  Half of it is still in the blood six hours later |
  t1/2 = 5.7 h
Keep the bedroom cool |
  Falling temperature tells the body that the night has come |
  16-18 °C
Write down what worries you before lying down |
  A list on paper lets the mind stop repeating it |
  5 min, p < 0.05""",
        "For instance, somebody who rises at seven would turn the lights down at ten.",
    ),
    _subject(
        "bread",
        "how to bake bread at home\nwhy my loaf stays flat\nhow to get a crisp crust",
        """Weigh the flour and the water |
  Cups vary far more than a loaf forgives |
  68 % hydration
Knead the dough until it stretches without tearing |
  The stretched strands hold the gas that lifts the loaf |
  10 min at 120 rpm
Let the dough rise until it has doubled |
  Flavour builds while the yeast works slowly |
  90 min, 24 °C
Shape the loaf with a tight skin |
  A slack surface spreads sideways in the oven |
  800 g, 22 cm
Heat the oven long before baking |
  Stored heat drives the last rise |
  240 °C, 45 min
Put a bowl of hot water under the loaf |
  Steam keeps the crust soft while the loaf grows |
  200 mL, first 12 min""",
        "For instance, a first loaf needs 500 grams of flour, 340 of water and ten of salt.",
    ),
    _subject(
        "backups",
        "how to back up my computer\nwhich files to copy\nhow often to make a backup",
        """Keep three copies of every file that matters |
  One disk can fail and one house can flood |
  3-2-1 scheme, RAID 1
Store one copy outside the house |
  Fire and theft take everything in one place |
  AES-256, off-site NAS
Let a program copy the files every night |
  What depends on memory is forgotten in a month |
  cron, 02:30 UTC
Restore a file now and then to test the copy |
  A backup nobody has opened is only a hope |
  SHA-256 compare
Label the disks with the date |
  The wrong disk is always the first one found |
  ISO 8601 tags
Remove the disk after the copy is done |
  What stays plugged in is reached by whatever breaks in |
  umount, USB 3.2""",
        "For instance, photos can go to a disk at home on Sunday and to a relative each month.",
    ),
    _subject(
        "running",
        "how to start running\nhow to get ready for a first race\nwhy my knees hurt after a run",
        """Run slowly enough to talk |
  Lungs and heart adapt before tendons do |
  65 % HRmax
Walk for a minute whenever breathing gets hard |
  Short pauses keep the legs fresh for longer |
  4:1 intervals
Add no more than a tenth each week |
  Bones need weeks to answer a new load |
  +10 % per 7 d
Buy shoes that leave room for the toes |
  Feet swell on the way |
  8 mm drop, 12 mm gap
Rest on the day after a long run |
  Muscle is built in the pause and not on the road |
  48 h, VO2 recovery
Train the hips twice a week |
  Weak hips let the knees fall inwards |
  3 x 12 reps, 20 kg""",
        "For instance, the first week may hold three outings of twenty minutes.",
    ),
    _subject(
        "tomatoes",
        "how to grow tomatoes\nwhen to plant tomatoes outside\nwhy tomato leaves turn yellow",
        """Plant them where the sun stays longest |
  Fruit sweetens only in full light |
  PAR > 400, 8 h
Bury the stem up to the first leaves |
  The buried part grows roots of its own |
  12 cm depth
Water at the roots in the morning |
  Wet leaves bring mould overnight |
  1.5 L, 3x weekly
Pinch out the shoots between stem and leaf |
  Each extra shoot steals from the fruit |
  < 5 cm, axillary
Tie the plant to a stake |
  Ripe trusses are heavier than the stem can bear |
  180 cm, 8 mm cord
Feed the plant once the first fruit shows |
  Earlier feeding makes leaves and no fruit |
  NPK 6-4-12""",
        "For instance, two plants in large tubs feed a small family in August.",
    ),
    _subject(
        "savings",
        "how to save money every month\nhow to make a budget\nwhat to do with my first salary",
        """Write down every expense for a month |
  Nobody guesses right where the money goes |
  CSV, 12 categories
Move the savings on the day the pay arrives |
  What has left the account is not missed |
  20 % standing order
Pay the dearest debt first |
  Interest eats savings faster than they grow |
  19.9 % APR
Keep three months of costs in reserve |
  A broken boiler must not become a loan |
  3x burn, T+0 access
Cancel what was not used since spring |
  Small fees add up in silence |
  9.99/mo x 12
Compare insurers once a year |
  Loyal customers pay for the discounts of others |
  5 quotes, Q4""",
        "For instance, with 2,000 a month, 400 would leave the account on the first day.",
    ),
    _subject(
        "spreadsheets",
        "how to add up a column in a spreadsheet\n"
        "how to find duplicates in a table\n"
        "how to make a chart",
        """Give every column a title |
  Sorting and filters need to know where the data begins |
  row 1, freeze panes
Keep one kind of value in each column |
  A stray word stops the sum |
  ISO dates, float64
Select the range before inserting the chart |
  The guess of the program is often one row short |
  A1:D120
Lock the cell that every formula refers to |
  Copied formulas wander otherwise |
  $B$2, XLOOKUP
Use a separate sheet for the raw numbers |
  What was typed can then be checked against what was counted |
  RAW!A:F, 10 MB
Save under a fresh name before big changes |
  The old numbers are wanted sooner than expected |
  v1.3.xlsx""",
        "For instance, a sheet of rents would have one row per month and one column per tenant.",
    ),
)
