"""A made-up graph of a given size, for tocsin and for its peers alike.

Two variables an evidence and three evidences an event, dealt so that each is
used as often as its neighbours.  A size is always the same graph.  In a hub one
evidence has all variables; in a fan one variable is under all evidences.
"""

import math
import random

SIZES = {                       # variables, evidences, events
    "S": (100, 200, 100),
    "M": (1000, 2000, 1000),
    "L": (10000, 20000, 10000),
    "XL": (100000, 200000, 100000),
    "hub": (5000, 1, 1),
    "fan": (1, 5000, 1667),
    "one": (1, 1, 1),
}
GROWING = ("S", "M", "L", "XL") # of one shape
PART = 25000                    # variables; a larger graph is loaded in several parts
TERMS = 80                      # of one sum; Python cannot read thousands
FILE = 4000                     # definitions in one file

QUERY = "select 1 + random()"


def deal(rng, hands, each, cards):
    """For each of HANDS, EACH different numbers below CARDS, or all there are."""
    each = min(each, cards)
    deck = []
    for _ in range(hands):
        hand = [deck.pop() for _ in range(min(each, len(deck)))]
        if len(hand) < each:
            deck = rng.sample(range(cards), cards)
            more = [card for card in deck if card not in hand][:each - len(hand)]
            deck = [card for card in deck if card not in more]
            hand += more
        yield sorted(hand)


class Graph:
    def __init__(self, size):
        self.size = size
        self.variables, self.evidences, self.events = SIZES[size]
        self.uses, self.rules = [], []          # of each evidence, of each event
        self.parts = max(1, self.variables // PART)
        rng = random.Random(f"tocsin bench {size}")
        for part in range(self.parts):
            self.add_part(rng, part)

    def add_part(self, rng, part):
        variables = self.variables // self.parts
        evidences = self.evidences // self.parts
        for hand in deal(rng, evidences, variables if self.size == "hub" else 2, variables):
            self.uses.append([part * variables + v for v in hand])
        for hand in deal(rng, self.events // self.parts, 3, evidences):
            rule = []
            for e in hand:
                rule += [rng.choice(("and", "or"))] if rule else []
                rule.append(part * evidences + e)
            self.rules.append(rule)

    @property
    def nodes(self):
        return self.variables + self.evidences + self.events

    @property
    def repeated(self):
        """What a peer executes that runs a node again for each of its inputs."""
        links = [0] * self.evidences
        for rule in self.rules:
            for e in rule[::2]:
                links[e] += 1
        evidences = sum(map(len, self.uses))
        return self.variables + evidences + sum(
            len(use) * n for use, n in zip(self.uses, links))

    # --- in words ---

    def evidence_text(self, n):
        names = [f"v{v}" for v in self.uses[n]]
        sums = [" + ".join(names[at:at + TERMS]) for at in range(0, len(names), TERMS)]
        return sums[0] if len(sums) == 1 else " + ".join(f"({text})" for text in sums)

    def event_text(self, n):
        return " ".join(w if isinstance(w, str) else f"e{w}" for w in self.rules[n])

    def operand(self, n):
        return 1.5 * len(self.uses[n])

    # --- what must come out ---

    def evidence_is(self, n, value, values):
        """Thousands may be added in another order."""
        return math.isclose(value, sum(values[v] for v in self.uses[n]), rel_tol=1e-12)

    def evidence_is_true(self, n, values):
        """VALUES: of the variables, by their numbers."""
        return sum(values[v] for v in self.uses[n]) > self.operand(n)

    def event_is_true(self, n, truths):
        """"and" binds closer than "or": a rule is a list of alternatives."""
        alternatives, rule = [True], self.rules[n]
        for at in range(0, len(rule), 2):
            if at and rule[at - 1] == "or":
                alternatives.append(True)
            alternatives[-1] = alternatives[-1] and truths[rule[at]]
        return any(alternatives)

    # --- as definitions of tocsin ---

    def write(self, directory):
        """Files of definitions; a list for each part that is loaded by itself."""
        definitions = [[] for _ in range(self.parts)]

        def add(n, of, text):
            definitions[n * self.parts // of].append(text)
        for n in range(self.variables):
            add(n, self.variables, f'[variables.v{n}]\nsql = "{QUERY}"\n')
        for n in range(self.evidences):
            add(n, self.evidences, f'[evidences.e{n}]\ndefinition = "{self.evidence_text(n)}"\n'
                                   f'operator = ">"\noperand = {self.operand(n)}\n')
        for n in range(self.events):
            add(n, self.events, f'[events.x{n}]\ndefinition = "{self.event_text(n)}"\n'
                                'interval = 0\n')
        parts = []
        for number, texts in enumerate(definitions):
            parts.append([])
            for at in range(0, len(texts), FILE):
                path = directory / f"part{number}-{at // FILE:03d}.toml"
                path.write_text("\n".join(texts[at:at + FILE]))
                parts[-1].append(path)
        return parts
