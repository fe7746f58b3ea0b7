// Generated from src/steps/build-war.ts by `npm run generate`. Do not edit.

Map call(Object... given) {
    return crosscloud.step(
        given,
        variable: 'crosscloudBuildWar',
        name: 'build-war',
        inputs: ['war', 'repository', 'branch', 'goals', 'args', 'clean', 'maven', 'localRepository'],
        attempts: 3
    )
}
