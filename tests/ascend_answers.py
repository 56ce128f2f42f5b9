"""Answers of the Ascend tools in their true layouts, written for the tests of several parsers."""

OPTICAL_V2 = """\
============================================================================================
State-flag Diagnostic Monitoring:
--------------------------------------------------------------------------------------------
Items            Status
--------------------------------------------------------------------------------------------
TxFault Flag     Normal    | Normal    | Normal    | Normal   \x20
RxLos Flag       Normal    | Normal    | Abnormal  | Normal   \x20
TxLos Flag       Normal    | Normal    | Normal    | Normal   \x20
TxLol Flag       Normal    | Normal    | Normal    | Normal   \x20
RxLol Flag       Normal    | Normal    | Abnormal  | Normal   \x20
High power enable reg: enabled
--------------------------------------------------------------------------------------------
============================================================================================
Digital Diagnostic Monitoring:
--------------------------------------------------------------------------------------------
Items               Value       HighAlarm   HighWarn    LowAlarm    LowWarn     Status
Temperature(C)      41.00       75.00       70.00       -5.00       0.00        -          \x20
Voltage(V)          3.29        3.63        3.46        2.97        3.13        -          \x20
Bias lane0(mA)      7.52        12.00       11.00       2.00        3.00        -          \x20
Bias lane1(mA)      7.50        12.00       11.00       2.00        3.00        -          \x20
RxPower Lane0(dBm)  -0.50       5.50        4.50        -10.00      -8.40       -          \x20
RxPower Lane1(dBm)  3.01        5.50        4.50        -10.00      -8.40       -          \x20
RxPower Lane2(dBm)  -inf        5.50        4.50        -10.00      -8.40       -          \x20
RxPower Lane3(dBm)  -           -           -           -           -           -          \x20
TxPower Lane0(dBm)  1.25        5.50        4.50        -5.50       -4.50       -          \x20
TxPower Lane1(dBm)  0.00        5.50        4.50        -5.50       -4.50       -          \x20
MediaSNR Lane0(dB)  23.12       -           -           -           -           -          \x20
HostSNR Lane0(dB)   -           -           -           -           -           -          \x20
"""
OPTICAL_V2_ABSENT = """\
Items               Value       HighAlarm   HighWarn    LowAlarm    LowWarn     Status
Temperature(C)      -           -           -           -           -           -          \x20
Voltage(V)          -           -           -           -           -           -          \x20
RxPower Lane0(dBm)  -           -           -           -           -           -          \x20
"""
OPTICAL_950 = """\
+-----+------------+---------+------------+----------------+----------+----------+----------+
| NPU | Optical_ID | Present | High_power | Identifier     | Wave_len | Phy_code | Revision |
+-----+------------+---------+------------+----------------+----------+----------+----------+
| 0   | 1          | present | enable     | OSFP           | 1310 nm  | -        | A1       |
+-----+------------+---------+------------+----------------+----------+----------+----------+
+-----+------------+-----------+-------------+---------------+---------------+---------------+
| NPU | Optical_ID | Name      | Part_number | Serial_number | Org_unique_id | Manufact_date |
+-----+------------+-----------+-------------+---------------+---------------+---------------+
| 0   | 1          | Example   | EX-800G     | EX00000001    | 00-00-00      | 250601        |
+-----+------------+-----------+-------------+---------------+---------------+---------------+
+-----+------------+--------------+--------+----------+--------+--------+
| NPU | Optical_ID | Items        | Lane0  | Lane1    | Lane2  | Lane3  |
+-----+------------+--------------+--------+----------+--------+--------+
| 0   | 1          | TxFault Flag | Normal | Normal   | Normal | Normal |
| 0   | 1          | RxLos Flag   | Normal | Abnormal | Normal | Normal |
+-----+------------+--------------+--------+----------+--------+--------+
+-----+------------+--------------------+---------+-----------+----------+---------+----------+----------+---------+
| NPU | Optical_ID | Items              | Value   | HighAlarm | HighWarn | LowWarn | LowAlarm | Status   | Used_by |
+-----+------------+--------------------+---------+-----------+----------+---------+----------+----------+---------+
| 0   | 1          | Temperature(C)     | 52.0000 | 75.0000   | 70.0000  | 0.0000  | -5.0000  | Normal   | -       |
| 0   | 1          | RxPower Lane0(dBm) | 1.5000  | 6.0000    | 5.0000   | -6.0000 | -9.0000  | Normal   | NPU0    |
| 0   | 1          | RxPower Lane1(dBm) | -inf    | 6.0000    | 5.0000   | -6.0000 | -9.0000  | Abnormal | NPU0    |
| 0   | 1          | TxPower Lane0(dBm) | 2.0000  | 6.0000    | 5.0000   | -2.0000 | -4.0000  | Normal   | NPU0    |
+-----+------------+--------------------+---------+-----------+----------+---------+----------+----------+---------+
"""
DEV_INFO_950 = """\
+---------+---------+---------------------+-----------+-------------+------------+
| UDie ID | Port ID | Speed Ability(Gbps) | Port Type | Link Status | Media Type |
+---------+---------+---------------------+-----------+-------------+------------+
| 0       | 4       | 400                 | UB        | UP          | Optical    |
| 1       | 5       | NA                  | UB        | NA          | NA         |
+---------+---------+---------------------+-----------+-------------+------------+
+-----------------+-------------------+---------------------+-----------+--------+
| Interface Name  | IP Address        | Netmask             | Bond Mode | Slaves |
+-----------------+-------------------+---------------------+-----------+--------+
| end0v0          | 198.18.2.10       | 255.255.255.0       | NA        | NA     |
| ipourma0        | fd00::1           | ffff:ffff::         | NA        | NA     |
|                 | fd00::2           | ffff:ffff::         |           |        |
+-----------------+-------------------+---------------------+-----------+--------+
"""
PORT_INFO_950 = """\
port_id: 0xb
======================= UB PORT LINK INFO =======================
speed_ability: 400Gbps
port_link: unlink
======================== UB DLPHY INFO ==========================
fec: FEC Mode 1 RS (128, 120,T=4)
dl_link: unlink
"""
ROUTES = """\
Destination     Gateway         Genmask         Flags Metric Ref    Use Iface
default         198.18.0.1      0.0.0.0         UG    0      0        0 eth0
198.18.0.0      0.0.0.0         255.255.255.0   U     0      0        0 eth0
"""
TWO_FAULT_EVENTS = """\
\tFault Event Count              : 2
\tFault Event Information        : event id=0x80E01801, severity=3, node type ex=112, node id=0, sub node type ex=7, sub node id=4
\t                               : event id=0xF00, severity=0, node type ex=1, node id=2, sub node type ex=0, sub node id=0
"""
NO_FAULT_EVENTS = "\tFault Event Count              : 0\n\tFault Event Information        : NA\n"
TOPOLOGY_A3_WITHOUT_AFFINITY = """\
\t   Phy-ID4    Phy-ID5    Phy-ID6
Phy-ID4    X          SIO        HCCS_SW
Phy-ID5    SIO        X          HCCS_SW
Phy-ID6    HCCS_SW    HCCS_SW    X

Legend:

  X    = Self
  SIO  = Path traversing the SIO bus.
"""
TOPOLOGY_WITH_NICS = """\
\t   NPU0       NPU1       NIC0     CPU Affinity
NPU0       X          UB         PIX        0-63,128-191
NPU1       UB         X          SYS        64-127,192-255
NIC0       PIX        SYS        X

NIC0: hrn5_0

Legend:
"""
WATCH_A3 = (
    "NpuID(Idx)  ChipId(Idx) Pwr(W)      Temp(C)     AI Core(%)  AI Cpu(%)   Ctrl Cpu(%) Memory(%)   Memory BW(%)"
    " NPU Util(%)  AI Cube(%)   \n"
    "3           0           178.5       36          99          0           2           88          41           100"
    "          97           \n"
    "3           1           -           NA          99          0           2           88          41           NA "
    "          97           \n"
    "4           0           178.5       36          9"
)
COMMON_WITH_MCU = """\
\tNPU ID                         : 0
\tChip Count                     : 1

\tChip ID                        : 0
\tMemory Usage Rate(%)           : 44
\tAicore Usage Rate(%)           : 3
\tRated Power Dissipation(W)     : 4.0

\tChip Name                      : MCU
\tTemperature(C)                 : 36
\tPower Dissipation(W)           : 13.3
"""
TEMP_WITH_MCU_AT_THE_END = """\
\tNPU ID                         : 0
\tChip Count                     : 1

\tChip ID                        : 0
\tNPU Temperature (C)            : 50

\tLM75A_TE (C)                   : 41
\tTemperature (C)                : 43
\tTEC_TEMP (C)                   : NA
\tChip Name                      : mcu
"""
HEALTH_WITH_THREE_CODES = """\
\tHealth Status                  : Alarm
\tError Code                     : 80e01801 80CB800A 81078603
\tError Information              : node type=HBM, sensor type=Memory; part 2, event state=multi-bit ECC

\t                               : node type=AI Core, sensor type=Bus: AIV, event state=timeout

\t                               : Failed to get error information for error code : 0x81078603
"""
PROC_MEM_OF_TWO_CHIPS = """\
\tGet pid name failed.
\tProcess id:4711  Process name:                  Process memory(MB):118
\tProcess id:4712  Process name:my trainer        Process memory(MB):5118
\tChip ID                        : 0
\tNo process in device.
\tChip ID                        : 1
"""
