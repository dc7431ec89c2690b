"""Command lines that are mistakes, each with what its one line must say.

``words → parts``: words as a shell splits them; parts between "|". RUN is a finished run of a VAE,
NONE an empty folder, HERE the folder the command is typed in. Of the lines that break the same
rule one has a "*": `make test` types these, `make torture` all.
"""

from __future__ import annotations

import shlex

TRAIN = r"""
* a → 'a' | key=value
model → 'model'
=b → '=b'
= → '='
'' → '' is not
' ' → key=value
"a b" → 'a b'
* +model.beta=1 → +model.beta
++model.beta=1 → model.beta
* +new=1 → +new
* ~model=vae → ~model
* ~model.beta=1 → ~model.beta
~model → ~model
* model.=3 → model.=3
.=3 → .=3
..a=3 → ..a=3
model..widths=3 → model..widths
* @=3 → @=3
model@other=vae → model@other
model:other=vae → model:other
* modle=vae → modle | did you mean 'model'
modelname=vae → modelname
Model=vae → Model
* BOTTLENECK=3 → BOTTLENECK
bottelneck=3 → bottelneck | did you mean 'bottleneck'
batchsize=3 → batchsize | did you mean 'batch_size'
batch-size=3 → batch-size
epoch=3 → epoch | did you mean 'epochs'
lr=1e-3 → lr | optimizer.lr
learning_rate=1 → learning_rate
gpu=1 → gpu
model.widht=3 → widht | did you mean 'widths'
model.betta=3 → betta | did you mean 'beta'
model.beta.deep=3 → model.beta.deep
* optimizer.learning_rate=1 → optimizer.learning_rate
optimizer.betaz=1 → betaz | did you mean 'betas'
schedule.warm=1 → schedule.warm
trainer.pach=auto → pach | did you mean 'pack'
trainer.max_step=1 → max_step | did you mean 'max_steps'
dataset.limits=3 → limits | did you mean 'limit'
loss=gaussian loss.sigmas=3 → sigmas
* seed.x=1 → seed
* model= → unknown model ''
* model=vea → 'vea' | did you mean 'vae'
model=VAE → 'VAE'
* model=../vae → ../vae
* model=/etc/passwd → /etc/passwd
* model=a/b → a/b
model=base → base
model=__init__ → __init__
* model=null → model=null
model=true → model=true
model=5 → model=5
model=1.5 → model=1.5
model=[vae,gan] → model=[vae,gan]
model={a:1} → model={a:1}
* model=vae,gan → add -m
model=choice(vae,gan) → add -m
model=range(1,3) → model
model=glob(*) → model=glob(*)
* model.name=gan → model.name | model=
dataset.name=mnist → dataset.name | dataset=
loss.name=mse → loss.name | loss=
dataset=digit → 'digit' | did you mean 'digits'
dataset=MNIST → 'MNIST'
dataset=null → dataset=null
loss=bernouli → 'bernouli' | did you mean 'bernoulli'
loss=null → loss=null
optimizer=adm → 'adm' | did you mean
optimizer=null → optimizer=null
schedule=cosin → 'cosin' | did you mean 'cosine'
schedule=null → schedule=null
trainer=fast → 'fast'
experiment=foo → 'foo'
* experiment=../x → ../x
experiment=null → experiment=null
experiment=3 → experiment=3
* experiment=[1,2] → experiment=[1,2]
* experiment=[digits_gan,nope] → nope
* model=vae model=gan → model is given twice
seed=1 seed=1 → seed is given twice
* model.beta=1 model.beta=2 → model.beta is given twice
* "model='vae" → model='vae
'model="vae' → model="vae
'model=vae"' → model=vae"
name=( → name=(
name=) → name=)
name=[ → name=[
name={ → name={
name=} → name=}
* 'name=a b,c' → name
'name=$(ls)' → name=$(ls)
'name=`ls`' → name=`ls`
'name=🙈' → name=🙈
'name=שלום' → name=שלום
'name=ü' → name=ü
name={a:1} → name
name=[a] → name
* name= → name=
outputs= → outputs=
outputs={a:1} → outputs
init_from= → init_from=
monitor= → monitor=
* device= → device=
'tags=[a' → tags=[a
* tags=a → tags
* 'tags=[{a:1}]' → tags
* 'tags=[[a]]' → tags
'model.widths=[1,2' → model.widths=[1,2
'model.widths=[1,,2]' → model.widths=[1,,2]
'model.widths=1,2' → add -m
* 'model.beta=${nope}' → model.beta | nope
* 'model.beta=${oc.env:NOT_SET_AT_ALL}' → model.beta | NOT_SET_AT_ALL
'model.beta=${' → model.beta=${
* 'model.beta=${oc.decode:[}' → model.beta
* 'model.beta=${oc.nothing:1}' → model.beta | oc.nothing
* 'epochs=${epochs}' → epochs
* 'name=${hydra:runtime.cwd}' → name
* 'model.beta=???' → model.beta | no value
* loss=hinge → loss=hinge does not fit vae | gaussian
loss=mse → loss=mse does not fit vae
model=gan loss=mse → loss=mse | hinge
model=flow loss=bernoulli → loss=bernoulli | nll
model=ddpm loss=hinge → loss=hinge | simple
* model=mlp loss=hinge → loss=hinge | cce
model=autoencoder loss=nll → loss=nll
model=latent_flow loss=hinge → loss=hinge
* model=mlp loss=cce dataset=diabetes → loss=cce
* model=flow bottleneck=3 → flow has no bottleneck | bottleneck=3
* bottleneck=null → bottleneck
model=ddpm model.sampler=foo → model.sampler=foo | ddim
model=vae model.sampler=ddim → model.sampler
model=gan model.beta=1 → model.beta
* model=vae dataset.pair=inpaint → model=vae
model=mlp dataset=moons dataset.pair=inpaint → dataset.pair
dataset=moons dataset.flip=true → dataset.flip
dataset=wine dataset.limit=-5 → dataset.limit=-5
dataset=digits dataset.scale=none → dataset.scale
* dataset.pair=inpaint dataset.flip=true → dataset.flip
* dataset.pair=superresolution dataset.factor=3 model=autoencoder → dataset.factor=3
* dataset.shift=8 → dataset.shift=8
dataset.limit=1e4 → dataset.limit=10000.0
* dataset.val_fraction=0 → val_fraction
* dataset.val_fraction=1 → dataset.val_fraction=1
* dataset.test_fraction=0.5 dataset.val_fraction=0.999 → dataset.val_fraction
* dataset=folder → dataset.path is missing
dataset=table → dataset.path is missing
dataset=folder dataset.path=5 → dataset.path=5
* dataset=folder dataset.path=gone → gone is not there
dataset=folder dataset.path=/gone → /gone is not there
* 'dataset=folder' 'dataset.path="~nobody-here/x"' → ~nobody-here
dataset=mnist dataset.root=gone → gone is not there
dataset=mnist dataset.root=5 → dataset.root=5
* dataset=cifar10 dataset.root=. → holds no files of cifar10
dataset=moons dataset.n=100000000000 → dataset.n=100000000000
* schedule=plateau monitor=null → schedule=plateau | monitor
model=gan schedule=plateau → schedule=plateau
* trainer.patience=3 monitor=null → trainer.patience
* monitor=val/los → val/los | did you mean 'val/loss'
* monitor=accuracy → accuracy
device=gpu → device=gpu
device=cuda:a → device=cuda:a
device=cuda:-1 → device=cuda:-1
device=cpu:0 → device=cpu:0
device=[cpu] → device
precision=fp16 → precision=fp16
precision=16 → precision=16
trainer.step=fast → trainer.step=fast
* trainer.pack=1 → trainer.pack=1
trainer.pack=10000 → trainer.pack=10000
trainer.loggers=[foo] → trainer.loggers | foo
* figures=jpg → figures | did you mean 'png'
figures=null → figures
figures.name=pdf → figures=
* figures.scale=3 → figures.scale=3
figures.scale=big → figures.scale=big
figures.dpi=300 → figures.dpi
* trainer.loggers=tensorboard → trainer.loggers
* trainer.loggers=[tensorboard] trainer.pack=auto → trainer.pack
* trainer.accumulate=100 → trainer.accumulate=100
* trainer.devices=1000 → trainer.devices=1000
* trainer.deterministic=3 → trainer.deterministic=3
trainer.deterministic=maybe → trainer.deterministic=maybe
force_loss=5 → force_loss=5
seed=-1 → seed=-1
seed=1.5 → seed=1.5
* seed=9223372036854775808 → seed=9223372036854775808
split_seed=4294967296 → split_seed=4294967296
epochs=2147483648 → epochs=2147483648
batch_size=2147483648 → batch_size=2147483648
bottleneck=2147483648 → bottleneck=2147483648
* bottleneck=2000000000 → parameters | GB
model.widths=[1000000000] → parameters | GB
model=flow model.steps=1001 → model.steps=1001
model=ddpm model.depth=100000 → model.depth=100000
model=ddpm model.timesteps=10000000 → model.timesteps=10000000
* model.network=conv model.channels=[] → model.channels
* model.network=conv model.channels=[8,8,8,8,8,8,8] → channels
model=ddpm model.channels=[] → channels
* optimizer.betas=[0.9] → optimizer.betas
* optimizer.betas=[0.9,1.0] → optimizer.betas
optimizer=sgd optimizer.momentum=1 → optimizer.momentum=1
schedule=step schedule.every=0 → schedule.every=0
* schedule=cosine schedule.horizon=0 → schedule.horizon=0
schedule.horizon=3 → schedule.horizon
* init_from=nope → init_from=nope
* init_from=NONE → init_from
* init_from=RUN bottleneck=5 → fit
init_from=RUN model=gan → fit
* hydra.run.dir=x → hydra.run.dir
hydra.sweep.dir=x → hydra.sweep.dir
hydra.job.chdir=true → hydra.job.chdir
* hydra=foo → hydra
* hydra/launcher=foo → hydra/launcher | foo
hydra.launcher.x=1 → hydra.launcher.x
* hydra/sweeper=x → hydra/sweeper
* sweep=seeds → sweep=seeds | -m
sweep.trials=3 → sweep.trials=3
* -m → -m
-m model=vae → -m
* -m model=vae,vea → vea
* -m bottleneck=8,x → bottleneck=x
-m bottleneck=8,0 → bottleneck=0
-m bottleneck=8,8.5 → bottleneck=8.5
* -m seed=range(5,1) → seed=range(5,1)
* -m seed=interval(1,2) → seed=interval(1,2)
-m model=glob(*x) → glob
-m outputs=a,b → outputs
-m name=a,b → name
-m tags=a,b → tags
-m force_loss=1,2 → force_loss=1
* -m loss=mse,hinge → loss=mse | nothing was launched
-m model=flow,gan loss=hinge → loss=hinge
-m sweep=foo → 'foo'
* -m sweep=seeds sweep.trails=3 → trails | did you mean 'trials'
-m sweep=random sweep.trials=0 → sweep.trials
* -m sweep=random sweep.trials=x → sweep.trials
-m sweep=seeds sweep=random → sweep
* -x → '-x'
* -mm → '-mm'
--foo → '--foo'
--model=vae → '--model'
--multi → '--multi' | did you mean '--multirun'
* --cfg → --cfg
* --cfg foo → foo
--cfg '' → --cfg needs a value
--cfg= → --cfg needs a value
* -cd '' → -cd needs a value
* --cfg job --info nope → nope
* -c job -m model=vae,gan → -m
* --package x → --package
--resolve → --resolve
* -cn foo → -cn
--config-name=foo → --config-name
* -cp x → -cp
* --run → --run
* --experimental-rerun x → --experimental-rerun
-cd → -cd
* -cd /gone → /gone
-cd → -cd
model=vae - → '-'
"""

VERBS = r"""
* trian → trian | did you mean 'train'
* TRAIN → TRAIN
train.py → train.py
* -m train → verb comes first
--foo → --foo
* model=vae → verb comes first
help trian → trian
* resume → name one run
resume a b → name one run
* resume nope → nope
* resume NONE → NONE
* resume HERE → HERE
* resume /gone/x → /gone/x
resume '' → no run ''
* resume latest --foo → --foo
* resume RUN model.beta=2 → model.beta cannot change
* resume RUN bottleneck=5 → bottleneck cannot change
* resume RUN seed=5 → seed cannot change
* resume RUN dataset.limit=5 → dataset.limit cannot change
* resume RUN nope=5 → nope
* resume RUN epocs=5 → epocs | did you mean 'epochs'
resume RUN epochs=5 epochs=6 → epochs is given twice
* resume RUN model=vae → model
* resume RUN epochs= → epochs
resume RUN epochs=x → epochs=x
resume RUN epochs=0 → epochs=0
resume RUN epochs=-3 → epochs=-3
resume RUN epochs=1.5 → epochs=1.5
resume RUN epochs=nan → epochs=nan
* resume RUN epochs=[1,2] → epochs
resume RUN epochs={a:1} → epochs
resume RUN 'epochs=${seed}' → epochs
* resume RUN 'tags=["' → tags
resume RUN tags=a → tags
resume RUN optimizer.lr=-1 → optimizer.lr=-1
* resume RUN optimizer.lr=fast → optimizer.lr=fast
resume RUN optimizer.lr=1e400 → optimizer.lr
resume RUN optimizer=sgd → optimizer
resume RUN device=gpu → device=gpu
resume RUN precision=fp8 → precision=fp8
resume nope outputs=x → 'nope' | x; see
resume RUN +epochs=3 → +epochs
resume RUN ~epochs=3 → ~epochs
resume RUN trainer.keep=0 → trainer.keep=0
* resume RUN trainer.threads=100000 → trainer.threads
resume RUN trainer.loggers=[nope] → nope
resume RUN figures=eps → figures.name=eps
* resume RUN figures.scale=3 → figures.scale=3
* sweep → resume
sweep foo → genai sweep resume
* sweep resume → name
* sweep resume nope → nope
* sweep resume RUN → RUN
* sweep resume NONE → NONE
sweep resume a b → name
sample → name one run
sample nope → nope
sample NONE → NONE
sample RUN --nope → --nope
sample RUN n=0 → n=0
sample RUN n=x → n=x
sample RUN n=1.5 → n=1.5
sample RUN n=-5 → n=-5
sample RUN n=[1] → n=
sample RUN n= → n=
* sample RUN nn=3 → nn
sample RUN seed=-1 → seed=-1
sample RUN seed=99999999999999999999 → seed=
* sample RUN format=bmp → format
* sample RUN y=3 → y
* sample RUN checkpoint=nope → nope
* sample RUN checkpoint=../../x → checkpoint
sample RUN device=gpu → gpu
* sample RUN figures=eps → figures=eps
sample RUN figures.scale=0 → figures.scale=0
* sample RUN ema=true → ema
sample RUN mode=nope → mode
sample a b → name one run
evaluate nope → nope
evaluate NONE → NONE
evaluate RUN --nope → --nope
evaluate RUN n=0 → n=0
evaluate RUN n=x → n=x
* evaluate RUN split=nope → split
evaluate RUN nope=1 → nope
evaluate RUN checkpoint=nope → nope
evaluate RUN device=gpu → gpu
evaluate RUN metrics=nope → metrics
evaluate RUN features=nope → nope
evaluate RUN seed=-1 → seed=-1
encode → name one run
encode nope → nope
encode NONE → NONE
encode RUN split=nope → split=nope
encode RUN format=xls → format=xls
* encode RUN nope=1 → nope
encode RUN checkpoint=nope → nope
encode RUN a → name one run
encode RUN --nope → --nope
compare nope → nope
compare NONE → NONE
compare RUN --nope → --nope
* compare RUN by=nope → by
compare RUN nope=1 → nope
compare RUN nope → nope
report nope → nope
report NONE → NONE
report RUN --nope → --nope
report RUN nope=1 → nope
* report a b → report
* runs nope → 'nope'
runs --nope → '--nope'
* runs modle=vae → modle | did you mean 'model'
* runs status=finishd → status=finishd | did you mean 'finished'
runs prune nope → 'nope'
runs prune --all → '--all'
runs prune modle=vae → modle
* runs = → key ''
runs =x → key ''
plan nope → 'nope'
plan model=vea → vea
plan bottleneck=0 → bottleneck=0
plan model.beta=x → model.beta=x
plan -x → '-x'
plan loss=hinge → loss=hinge
* data nope → nope | choose from
* data chek digits → chek | did you mean 'check'
* data list x → 'x'
* data fetch → one name
data fetch a b → got 2
* data fetch nope → nope
* data fetch mnits → mnits | did you mean 'mnist'
* data fetch mnist nope=1 → nope
* data check → one name
* data check nope → nope
data check digit → digit | did you mean 'digits'
* data check digits nope=1 → nope
data check digits limit=0 → limit=0
data check digits limit=0 → limit=0
data check digits split_seed=-1 → split_seed=-1
data check digits split_seed=x → split_seed=x
* data check NONE → holds no images
data check folder → dataset.path is missing
* data check folder path=gone → gone
data check table path=gone → gone
* data check table path=NONE → folder
data check digits 'limit=[' → limit
data check moons n=0 → n=0
data check moons noise=-1 → noise=-1
data check moons noise=x → noise=x
data check gaussians radius=0 → radius=0
* completion nope → nope
* completion show nope → nope
completion install nope → nope
replay → name one run
replay nope → nope
replay NONE → NONE
reproduce → name one run
reproduce nope → nope
reproduce NONE → NONE
reproduce RUN nope=1 → nope
reproduce RUN rtol=-1 → rtol=-1
reproduce RUN rtol=x → rtol=x
"""


def read(text: str, verb: str = "") -> list[tuple[list[str], list[str], bool]]:
    """(words, parts, whether it is the one of its rule) of each line."""
    cases = []
    for line in text.strip().splitlines():
        words, _, parts = line.removeprefix("* ").partition(" → ")
        said = [part.strip() for part in parts.split("|")]
        typed = ([verb] if verb else []) + shlex.split(words)
        cases.append((typed, said, line.startswith("* ")))
    return cases
