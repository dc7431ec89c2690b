"""The page's look. Colours are named once for each theme; a test holds them to WCAG's AA."""

LIGHT = {
    "bg": "#ffffff",
    "card": "#f5f7f9",
    "ink": "#1a1f29",
    "soft": "#545d6b",
    "rule": "#d5dae1",
    "link": "#00568f",
    "good": "#1b6b3a",
    "bad": "#a3251b",
    "warn": "#7a4b00",
    "one": "#0069a6",  # training, first line
    "two": "#b34a00",  # validation, second
    "three": "#00735a",
    "four": "#a03a7c",
    "five": "#6b5a00",
    "six": "#5b4fa0",
}
DARK = {
    "bg": "#12151a",
    "card": "#1b2027",
    "ink": "#e8eaee",
    "soft": "#a6afbd",
    "rule": "#39414d",
    "link": "#82c4ff",
    "good": "#7fd6a0",
    "bad": "#ff9d93",
    "warn": "#f2c063",
    "one": "#5cb8f0",
    "two": "#f5a15d",
    "three": "#4fd1ae",
    "four": "#ee9fcf",
    "five": "#d9c65a",
    "six": "#b3a8f5",
}
SERIES = ("one", "two", "three", "four", "five", "six")


def _theme(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in colours.items())


CSS = (
    f":root{{color-scheme:light dark;{_theme(LIGHT)}}}\n"
    f"@media (prefers-color-scheme:dark){{:root{{{_theme(DARK)}}}}}\n"
    f"@media print{{:root{{color-scheme:light;{_theme(LIGHT)}}}}}\n"
    """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);
 font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Liberation Sans",sans-serif}
header,main,footer,nav{max-width:64rem;margin:0 auto;padding:0 1rem}
header{padding-top:1.6rem}
footer{padding:1rem;color:var(--soft);font-size:.875rem;border-top:1px solid var(--rule);
 margin-top:3rem}
h1,h2,h3,h4{line-height:1.25;overflow-wrap:anywhere;break-after:avoid;text-wrap:balance}
h1{font-size:1.9rem;margin:.1em 0 .3em}
h2{font-size:1.35rem;margin:2.6rem 0 .7rem;padding-top:.4rem;border-top:1px solid var(--rule)}
h3{font-size:1.08rem;margin:1.8rem 0 .5rem}
h4{font-size:1rem;margin:1.2rem 0 .4rem}
p,li{max-width:46rem;overflow-wrap:anywhere}
p{margin:.5rem 0 .9rem}
p.tight{margin:.3rem 0 0}
a{color:var(--link)}
a:focus-visible,summary:focus-visible,[tabindex]:focus-visible{outline:3px solid var(--link);
 outline-offset:2px;border-radius:2px}
nav ul{display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;list-style:none;padding:0;margin:.6rem 0 0}
nav a{display:inline-block;padding:.3rem 0}
.skip{position:absolute;left:-99rem}
.skip:focus{left:.5rem;top:.5rem;background:var(--bg);padding:.5rem}
.away{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);
 white-space:nowrap}
.soft{color:var(--soft)}
.small{font-size:.875rem}
code,pre,.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",
 monospace;font-size:.875em}
code{overflow-wrap:anywhere}
pre{background:var(--card);border:1px solid var(--rule);border-radius:6px;padding:.7rem .8rem;
 overflow-x:auto;white-space:pre-wrap;overflow-wrap:anywhere;margin:.5rem 0 .9rem;
 font-size:.8125rem;line-height:1.5}
.meta{display:flex;flex-wrap:wrap;gap:.2rem 1.3rem;margin:.2rem 0 .8rem;padding:0;list-style:none}
.meta li{max-width:none}
.status{font-weight:600}
.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
.note{border:1px solid var(--rule);border-left:5px solid var(--warn);background:var(--card);
 border-radius:6px;padding:.6rem .9rem;margin:.8rem 0}
.note.bad{border-left-color:var(--bad);color:inherit}
.note p:last-child,.note pre:last-child{margin-bottom:.2rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(13.5rem,100%),1fr));
 gap:.8rem;margin:1rem 0;padding:0;list-style:none}
.tile{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:.7rem .9rem;
 break-inside:avoid}
.tile .value{display:block;font-size:1.55rem;font-weight:650;line-height:1.25;
 font-variant-numeric:tabular-nums}
.tile .value small{font-size:.9rem;font-weight:400;color:var(--soft)}
.tile .what{font-weight:600}
.tile span{display:block}
.tile .what span,.tile .value small{display:inline}
.scroll{position:relative;overflow-x:auto;margin:.6rem 0 1rem;max-width:100%}
table{border-collapse:collapse;font-size:.9rem;min-width:min(100%,18rem)}
caption{text-align:left;color:var(--soft);padding:.2rem 0 .4rem;font-size:.875rem}
th,td{text-align:left;padding:.4rem .9rem .4rem 0;border-bottom:1px solid var(--rule);
 vertical-align:top}
thead th{font-weight:600;white-space:nowrap;vertical-align:bottom}
tbody th{font-weight:500}
tbody th:has(.small){min-width:10rem}
th.num,td.num{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.num span.wrap{white-space:normal}
tr{break-inside:avoid}
details{margin:.3rem 0}
summary{cursor:pointer;padding:.25rem 0;color:var(--link)}
summary h3,summary h4{display:inline;color:var(--ink)}
details.box{border:1px solid var(--rule);border-radius:8px;padding:.3rem .9rem;margin:.7rem 0}
dl.pairs{display:grid;grid-template-columns:fit-content(14rem) minmax(0,1fr);gap:.15rem 1rem;
 margin:.3rem 0 .6rem;font-size:.875rem}
dl.pairs dt{color:var(--soft);overflow-wrap:anywhere;min-width:0}
dl.pairs dd{margin:0;overflow-wrap:anywhere;min-width:0}
td code,th code{overflow-wrap:normal;white-space:nowrap}
h2+h3,h2+h4,h2+div>h3{margin-top:.8rem}
figure{margin:1rem 0 1.6rem;break-inside:avoid}
figcaption{margin-top:.4rem;color:var(--soft);font-size:.9rem;max-width:46rem}
figcaption b{color:var(--ink)}
.paper{background:#fff;border:1px solid var(--rule);border-radius:8px;padding:.6rem;
 display:inline-block;max-width:100%}
.paper{overflow-x:auto}
.paper img{display:block;max-width:100%;height:auto}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(21rem,100%),1fr));
 gap:1rem;margin:1rem 0}
.chart{margin:0}
.chart svg{display:block;width:100%;height:auto;max-width:34rem}
.chart text{fill:var(--ink);font:12.5px system-ui,-apple-system,"Segoe UI",Roboto,
 "Liberation Sans",sans-serif}
.chart .tick{fill:var(--soft);font-size:11.5px}
.chart .grid{stroke:var(--rule);stroke-width:1}
.chart .curve{fill:none;stroke-width:1.9;stroke-linejoin:round;stroke-linecap:round}
.chart .halo{paint-order:stroke;stroke:var(--bg);stroke-width:4px;stroke-linejoin:round}
"""
    + "".join(
        f".s-{name}{{stroke:var(--{name})}}.chart text.t-{name}{{fill:var(--{name})}}"
        f".f-{name}{{fill:var(--{name})}}\n"
        for name in SERIES
    )
    + """
@media (max-width:34rem){h1{font-size:1.55rem}dl.pairs{grid-template-columns:minmax(0,1fr);gap:0}
 dl.pairs dd{margin-bottom:.35rem}
 .chart text{font-size:14.5px}.chart .tick{font-size:13.5px}
 .paper.wide img{max-width:none;width:40rem}}
@media (prefers-reduced-motion:no-preference){html{scroll-behavior:smooth}}
@media print{
 @page{margin:14mm 12mm}
 body{font-size:10.5pt}
 header,main,footer,nav{max-width:none;padding-left:0;padding-right:0}
 nav,.skip{display:none}
 h2{margin-top:1.6rem}
 .scroll{overflow:visible}
 table,table .small{font-size:8.5pt}
 pre{white-space:pre-wrap}
 .paper{overflow:visible}
 .paper img,.paper.wide img{max-width:100%;max-height:21cm;width:auto}
 .charts{display:block}
 .chart{display:inline-block;width:48%;vertical-align:top;break-inside:avoid}
 h2,h3,h4,caption,summary{break-after:avoid}
 details::details-content{content-visibility:visible;block-size:auto;opacity:1}
 .screen{display:none}
 th,td{overflow-wrap:break-word;padding-right:.5rem}
 th.num,td.num{white-space:normal}
 tbody th{min-width:2.2cm}
 td code,th code{white-space:normal}
 details>summary{list-style:none;color:var(--soft)}
 a{color:inherit;text-decoration:none}
}
"""
)
