from . import diffraction as diffraction
from . import dose as dose
from . import eels as eels
from . import io as io
from . import phases as phases
from . import plotting as plotting
from . import report as report
from . import session as session
from . import simulation as simulation
from .acquisition import Acquisition as Acquisition
from .assessment import Assessment as Assessment
from .diffraction import PhaseMap as PhaseMap
from .diffraction import identify_image as identify_image
from .diffraction import identify_pattern as identify_pattern
from .errors import InterphaseError as InterphaseError
from .io import load as load
from .io import read_acquisition as read_acquisition
from .phases import candidates as candidates
from .report import write_report as write_report
from .session import SessionResult as SessionResult
from .session import run_session as run_session

__version__: str
