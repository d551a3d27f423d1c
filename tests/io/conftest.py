"""Small files of every format that a test can write."""

import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile

MDOC = """PixelSpacing = 2
Voltage = 300
ImageFile = TS_07.mrc

[T = SerialEM: a title with = in it]

[ZValue = 0]
TiltAngle = 0.5
StagePosition = 10.5 -20.25
StageZ = 3
ExposureDose = 3
DoseRate = 11.5
PixelSpacing = 2
Defocus = 1.5
TargetDefocus = -2
ImageShift = 0.1 -0.2
ExposureTime = 1
Binning = 1
PriorRecordDose = 0
SubFramePath = X:\\raw=1\\frames_000.tif
NumSubFrames = 10
FrameDosesAndNumber = 0.3 10
DateTime = 03-May-23  13:59:32

[ZValue = 1]
TiltAngle = 3
StagePosition = 10.6 -20.25
ExposureDose = 3
ExposureTime = 1
PriorRecordDose = 4
SubFramePath = X:\\raw=1\\frames_001.tif
"""

EPU = """<?xml version="1.0"?>
<MicroscopeImage xmlns="http://schemas.datacontract.org/2004/07/Fei.SharedObjects"
 xmlns:a="http://schemas.microsoft.com/2003/10/Serialization/Arrays">
<CustomData>
<a:KeyValueOfstringanyType><a:Key>Dose</a:Key><a:Value>2.5E+21</a:Value></a:KeyValueOfstringanyType>
<a:KeyValueOfstringanyType><a:Key>DoseOnCamera</a:Key><a:Value>6.25</a:Value>
</a:KeyValueOfstringanyType>
<a:KeyValueOfstringanyType><a:Key>AppliedDefocus</a:Key><a:Value>-1.2E-06</a:Value>
</a:KeyValueOfstringanyType>
</CustomData>
<SpatialScale><pixelSize><x><numericValue>5E-11</numericValue></x></pixelSize></SpatialScale>
<microscopeData>
<acquisition><acquisitionDateTime>2024-08-31T20:05:19.2336922+02:00</acquisitionDateTime>
<camera><ExposureTime>0.5</ExposureTime><Name>EF-Falcon</Name></camera></acquisition>
<gun><AccelerationVoltage>300000</AccelerationVoltage></gun>
<optics><BeamShift><a:_x>-0.02</a:_x><a:_y>0.03</a:_y></BeamShift>
<ColumnOperatingMode>TEM</ColumnOperatingMode><Defocus>-2E-06</Defocus></optics>
<stage><Position><A>0.1</A><B>0</B><X>-0.0006</X><Y>0.0002</Y><Z>-3E-05</Z></Position></stage>
</microscopeData>
</MicroscopeImage>
"""


def write_mrc(path: Path) -> None:
    with mrcfile.new(path) as mrc:
        mrc.set_data(np.arange(64 * 48, dtype=np.float32).reshape(48, 64))
        mrc.voxel_size = 0.5


def write_tif(path: Path) -> None:
    image = np.arange(64 * 48, dtype=np.uint16).reshape(48, 64)
    tifffile.imwrite(path, image, resolution=(72, 72), resolutionunit="INCH")


def write_hspy(path: Path) -> None:
    import hyperspy.api as hs

    signal = hs.signals.Signal2D(np.ones((32, 32), dtype=np.float32))
    for axis in signal.axes_manager.signal_axes:
        axis.scale, axis.units = 0.02, "nm"
    scope = {"beam_energy": 300.0, "acquisition_mode": "STEM", "beam_current": 0.01}
    signal.metadata.add_dictionary({"Acquisition_instrument": {"TEM": scope}})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signal.save(path)


def write_msa(path: Path) -> None:
    rows = "\n".join(f"{300 + 0.5 * i}, {1000 - i}" for i in range(64))
    path.write_text(
        "#FORMAT      : EMSA/MAS Spectral Data File\n#VERSION     : 1.0\n#TITLE       : carbon\n"
        "#DATE        : \n#TIME        : \n#OWNER       : \n#NPOINTS     : 64\n"
        "#NCOLUMNS    : 1\n#XUNITS      : eV\n#YUNITS      : Counts\n#DATATYPE    : XY\n"
        "#XPERCHAN    : 0.5\n#OFFSET      : 300\n#SIGNALTYPE  : ELS\n#BEAMKV   -kV: 200\n"
        f"#SPECTRUM    : Spectral Data Starts Here\n{rows}\n#ENDOFDATA   : \n"
    )


def write_ser(path: Path, *, scale: float = 1e-10) -> None:
    """Write one 24 × 32 image as TIA does, without an .emi file."""
    pixels = np.arange(24 * 32, dtype="<u2")
    head = struct.pack("<HHHIIII", 0x4949, 0x0197, 0x0210, 0x4122, 0x4152, 1, 1)
    dimension = struct.pack("<IddII", 1, 0.0, 1.0, 0, 6) + b"Number" + struct.pack("<I", 0)
    offsets_at = len(head) + 8 + len(dimension)
    first = offsets_at + 8
    element = struct.pack("<ddIddIHII", 0.0, scale, 0, 0.0, scale, 0, 2, 32, 24) + pixels.tobytes()
    tag = struct.pack("<HHI", 0x4152, 0, 0)
    body = struct.pack("<II", first, first + len(element)) + element + tag
    path.write_bytes(head + struct.pack("<II", offsets_at, 1) + dimension + body)


def write_blo(path: Path) -> None:
    """Write 2 × 3 patterns of 16 × 16 pixels as NanoMEGAS does."""
    head = b"IMGBLO" + struct.pack("<HIIIHHHHH", 258, 4096, 4112, 0, 16, 0, 3, 2, 0)
    head += struct.pack("<ddIHId", 1.5, 1.5, 200000, 6000, 2000, 42339.5)
    frames = b"".join(struct.pack("<HI", 0x55AA, n) + bytes([n] * 256) for n in range(6))
    path.write_bytes(head.ljust(4096, b"\0") + bytes(16) + frames)


WRITERS: dict[str, Callable[[Path], None]] = {
    "image.mrc": write_mrc,
    "image.tif": write_tif,
    "image.hspy": write_hspy,
    "spectrum.msa": write_msa,
    "pattern_1.ser": write_ser,
    "scan.blo": write_blo,
    "TS_07.mrc.mdoc": lambda path: path.write_text(MDOC) and None,
    "exposure.xml": lambda path: path.write_text(EPU) and None,
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes the small file of that name and returns its path."""

    def make(name: str, **options: float) -> Path:
        path = tmp_path / name
        WRITERS[name](path, **options)
        return path

    return make
