"""Ordinary English words from which `core.data.generated` makes its mails."""

from __future__ import annotations


def _words(text: str) -> list[str]:
    return text.split()


COMMON = _words("""
the to and of a in you for is that on i it we this be with have are as will at me if not or your our can from but by
please all was any do would so what there my they about an has when know just need get out up no more which time let
should been also see think one how some could who new like here now them then next only day today work week well good
back than make want after because before last first other two over look still take sure into us going again help
""")

NEUTRAL = _words("""
thanks regards hello dear best sent message attached call phone number date morning afternoon monday tuesday friday
weekend home office people company business service information list order account money market price offer free
website link click news letter request reply question answer address name copy page group team plan report change
""")

SIGNS = [",", ".", "-", "?", "!", "$", "%", ":", "10", "20", "50", "100", "500", "2000", "24", "7"]

TOPICS = [
    _words(line)
    for line in (
        "meeting agenda minutes schedule conference room attend calendar invite slides chair notes reschedule remote",
        "invoice budget ledger audit expense payment quarter forecast accrual reconcile vendor purchase receipt tax",
        "server deploy branch release bug patch database query latency backup cluster compile login script",
        "contract clause lawyer draft signature party counsel agreement amendment liability court filing terms notary",
        "lecture exam student thesis seminar grade campus library professor homework semester essay tutor course",
        "garden tomato seeds compost soil roses watering fence lawn pruning bulbs harvest greenhouse shed",
        "rehearsal choir violin concert orchestra score tenor piano recital conductor tickets stage melody program",
        "match goal coach league training stadium season referee striker defence injury transfer fixture squad",
        "flight hotel luggage passport itinerary airport museum train booking beach island ferry map guide",
        "recipe oven flour butter dinner garlic soup dessert kitchen roast salad pepper bread cheese",
        "patient clinic dose nurse surgery appointment symptom therapy ward chart allergy vaccine doctor hospital",
        "pipeline gas turbine volume storage nomination capacity meter compressor drilling outage grid megawatt plant",
        "daughter birthday grandma photos wedding cousin school puppy holiday picnic cake visit kids anniversary",
        "paint plumber tiles ceiling landlord lease sofa curtain mortgage apartment repair insulation boiler stairs",
    )
]

CAMPAIGNS = [
    _words(line)
    for line in (
        "pills pharmacy prescription tablets viagra discount overnight generic dosage discreet weight loss herbal",
        "lottery winner prize claim congratulations million jackpot ticket draw lucky sweepstakes euro notify reward",
        "stock ticker explosive shares investor breakout undervalued alert profit surge symbol rally broker gains",
        "password verify suspended security unusual login confirm bank update limited restore billing identity urgent",
        "mortgage refinance rate approved lender debt credit lowest loan consolidate equity bad qualify payments",
        "replica watches rolex luxury designer handbags brand quality genuine gold silver bargain collection warranty",
        "software oem download adobe windows license cheap cd retail office photoshop bundle save edition",
        "prince transfer inheritance deposit beneficiary confidential foreign funds trust widow partner barrister fee",
        "diploma university degree accredited career salary earn graduate tests classes doctorate admission promote",
        "casino poker bonus chips blackjack bet roulette slots vegas player spins winnings deposit jackpot",
        "singles dating lonely chat photos webcam girls meet match profile private passion romance beautiful",
        "marketing leads bulk email traffic ranking targeted visitors promotion advertise campaign homebased income",
    )
]

# Of these the names of people and places are put together.
SYLLABLES = _words("""
ba be bo bra cal ce da del do el fa fen ga gor ha hil in ja ka kel la len lo ma mir mo na nor o pa
per qui ra ri ro sa sel so ta ten ti tor u va ver wil xa ya zen
""")
