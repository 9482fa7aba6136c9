"""What surrounds a host changes while it serves: its standard streams, its folders, the clocks, and its own time, by
SIGSTOP. Requests whose answers are all checked go on meanwhile."""
from clocks import Clocks
from folders import Folders
from standard_streams import StandardStreams
from stops import Stops
from torment import Found, Torment, process

TRIALS = [StandardStreams, Folders, Clocks, Stops]


class Surroundings(Torment):
    name = "surroundings"

    def __init__(self, seed):
        super().__init__(seed)
        self.trials = [kind(self) for kind in TRIALS if kind.is_sanitized or not process.SAN]
        self.next = self.random.randrange(len(self.trials))

    def run(self, until):
        """All of them in turns, and the next round goes on with the next one."""
        while True:
            trial = self.trials[self.next]
            self.next = (self.next + 1) % len(self.trials)
            try:
                trial.run_once()
            except (OSError, AssertionError, Found) as error:
                self.note("%s: %s: %s" % (trial, type(error).__name__, error))
            if until():
                return
